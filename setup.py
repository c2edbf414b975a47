"""What pyproject.toml cannot say: dependencies from the sections of requirements.txt, the shipped model as package data."""

import re
from pathlib import Path

from setuptools import find_packages, setup

SHIPPED = "helpers.predict.shipped"

text = Path(__file__).with_name("requirements.txt").read_text(encoding="utf-8")
sections = {
    name: [line.split("#")[0].strip() for line in body.splitlines() if line[:1].isalpha()]
    for name, body in re.findall(r"^# \[(\w+)\][^\n]*\n(.*?)(?=^# \[|\Z)", text, re.DOTALL | re.MULTILINE)
}
setup(
    install_requires=sections.pop("base"),
    extras_require=sections,
    packages=[*find_packages(include=["helpers*"]), SHIPPED],
    package_dir={SHIPPED: "outputs/reference"},
    package_data={
        SHIPPED: ["digits.tflite", "calibration.json", "gate.npz", "line_weights.json", "strips.tflite"],
        "helpers": ["py.typed"],
        "helpers.notebook": ["pad.js", "pad.css", "style.mplstyle"],
        "helpers.series": ["templates/*.j2"],
    },
)
