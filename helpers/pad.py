"""What comes from the reader's hand: the upload button. Predicts nothing.

Explained in notebooks/06_custom_image_prediction.ipynb.
"""

from IPython import get_ipython
from IPython.display import display


def upload_button():
    """Shows a button that uploads pictures and returns it; None where nobody is there to press it.

    Under papermill, nbconvert and in tests no person watches: those run cells without standard input, which is how
    they are told from JupyterLab, VS Code and Colab. A widget there would only leave random ids in the output.
    """
    kernel = getattr(get_ipython(), "kernel", None)
    if not getattr(kernel, "_allow_stdin", False):
        return None
    from ipywidgets import FileUpload  # here, because reading pictures needs no widgets

    button = FileUpload(accept="image/*", multiple=True, description="Upload pictures")
    display(button)
    return button


def uploaded_files(widget) -> list[tuple[str, bytes]]:
    """Name and content of each file in an ipywidgets FileUpload, in order; an empty list before any upload.

    In ipywidgets 7 the widget's value is a dictionary by name, from 8 on a tuple of dictionaries. None (no button,
    see `upload_button`) has no files.
    """
    if widget is None:
        return []
    if isinstance(widget.value, dict):
        return [(name, bytes(file["content"])) for name, file in widget.value.items()]
    return [(file["name"], bytes(file["content"])) for file in widget.value]
