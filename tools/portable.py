"""Keras files that older versions of Keras read, too, and that are equal where the networks are.

An argument that only the newer one knows, and the older one refuses, is left out where it has its default value: then
the older one does the same without it. The weights stay as they are, and so do the answers. The date of saving, which
nothing reads, is left out: the same training, run again, leaves the same bytes.
"""

import io
import json
import zipfile

DATE = (1980, 1, 1, 0, 0, 0)  # of the files in a zip, at the earliest
NEW = {  # after Keras 3.13, which Colab has: of initialisers, and of batch normalisation
    "input_axes": None,
    "output_axes": None,
    "renorm": False,
    "renorm_clipping": None,
    "renorm_momentum": 0.99,
}


def portable(content: bytes) -> bytes:
    """A .keras file without what Keras 3.13 does not know, and without dates."""
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(target, "w") as new:
        for entry in old.infolist():
            part = old.read(entry)
            if entry.filename == "config.json":
                part = json.dumps(_known(json.loads(part)))
            elif entry.filename == "metadata.json":
                part = json.dumps({key: value for key, value in json.loads(part).items() if key != "date_saved"})
            entry.date_time = DATE
            new.writestr(entry, part)
    return target.getvalue()


def _known(value: object) -> object:
    """A part of a model's configuration without the NEW arguments that have their default."""
    if isinstance(value, dict):
        return {key: _known(part) for key, part in value.items() if key not in NEW or part != NEW[key]}
    return [_known(part) for part in value] if isinstance(value, list) else value
