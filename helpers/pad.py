"""What comes from the reader's hand: the upload button. Predicts nothing.

Explained in notebooks/06_custom_image_prediction.ipynb.
"""


def uploaded_files(widget) -> list[tuple[str, bytes]]:
    """Name and content of each file in an ipywidgets FileUpload, in order; an empty list before any upload.

    In ipywidgets 7 the widget's value is a dictionary by name, from 8 on a tuple of dictionaries.
    """
    if isinstance(widget.value, dict):
        return [(name, bytes(file["content"])) for name, file in widget.value.items()]
    return [(file["name"], bytes(file["content"])) for file in widget.value]
