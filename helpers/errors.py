"""The one exception that is meant for the reader."""


class UserError(Exception):
    """Something the reader can mend: one sentence saying what was wrong, where, and what to do.

    Command lines print it without a traceback; a notebook shows the sentence alone.
    """

    def _render_traceback_(self) -> list[str]:
        """Tells IPython to show the sentence instead of a stack of frames inside the helpers."""
        return [f"Stopped: {self}"]


class NoDigit(UserError):
    """The picture could be read, but holds no digit: it is blank, or its ink too faint or too small."""
