"""`run.py tail`: a stream's events in the terminal, through whichever door is open."""
