"""What the notebooks import: each module is one room, named in the README under "Layout".

Importing the package is cheap: no TensorFlow, no data.
"""

import os

# TensorFlow reads this once, when it is first imported; at its default it writes to stderr in every notebook.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
