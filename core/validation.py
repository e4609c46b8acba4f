"""From a schema's verdict to an error that a client can act on."""

from typing import TypeVar

from pydantic import BaseModel, ValidationError

from core.errors import FieldFault, InvalidError

Model = TypeVar("Model", bound=BaseModel)


def check(model: type[Model], value: object) -> Model:
    """Validate a value.

    Raises:
        InvalidError: naming every field at fault. What was sent is not repeated.
    """
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise invalid(error) from None


def invalid(error: ValidationError) -> InvalidError:
    """Turn pydantic's verdict into ours."""
    faults = [
        FieldFault(".".join(map(str, fault["loc"])) or "(whole)", fault["msg"])
        for fault in error.errors(include_url=False, include_input=False, include_context=False)
    ][:20]
    return InvalidError(f"{faults[0].field}: {faults[0].message}", faults)
