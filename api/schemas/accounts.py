"""Accounts, logins, sessions and users, as they go in and out."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from api.schemas.common import EXAMPLE_ID, EXAMPLE_TIME, Output, PageQuery, SearchText, Time
from core.fields import (
    DisplayName,
    Input,
    NoNul,
    Password,
    TriedName,
    TriedPassword,
    Username,
)


class Register(Input):
    """A new account."""

    username: Username = Field(examples=["ada"])
    password: Password = Field(examples=["correct horse battery"])
    display_name: DisplayName | None = Field(None, examples=["Ada Lovelace"])


class Credentials(Input):
    """An account's name and password."""

    username: TriedName = Field(examples=["ada"])
    password: TriedPassword = Field(examples=["correct horse battery"])


class PasswordChange(Input):
    """The old password and the new."""

    current_password: TriedPassword = Field(examples=["correct horse battery"])
    new_password: Password = Field(examples=["a different horse"])


class User(Output):
    """A user."""

    id: str = Field(examples=[EXAMPLE_ID])
    username: str = Field(examples=["ada"])
    display_name: str = Field(examples=["Ada Lovelace"])
    is_admin: bool
    disabled: bool
    created_at: Time = Field(examples=[EXAMPLE_TIME])
    updated_at: Time = Field(examples=[EXAMPLE_TIME])


class Login(Output):
    """Who is logged in now, and the tokens to show for it."""

    user: User
    access_token: str
    refresh_token: str
    token_type: Literal["Bearer"]
    expires_in: int = Field(description="Seconds that the access token is good for.")


class Ticket(Output):
    """A one-use stand-in for the access token, for `?ticket=`."""

    ticket: str
    expires_in: int = Field(examples=[30])


class Session(Output):
    """A login."""

    id: str = Field(examples=[EXAMPLE_ID])
    user_agent: str
    created_at: Time
    last_used_at: Time
    expires_at: Time
    current: bool


class Profile(Input):
    """What a user may change of themselves."""

    display_name: DisplayName = Field(examples=["Ada, Countess of Lovelace"])


class UserChange(Input):
    """What an administrator may change of a user."""

    display_name: DisplayName | None = None
    is_admin: bool | None = None
    disabled: bool | None = None


class UserQuery(PageQuery):
    """Which users."""

    q: SearchText | None = Field(None, description="How the username begins.")
    ids: Annotated[str, StringConstraints(max_length=8000), NoNul] | None = Field(
        None, description="Ids, by commas; at most 200."
    )
    sort: Literal["username", "-username", "created_at", "-created_at"] = "username"
