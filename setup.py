"""The wheel holds the configurations and the published results beside the code.

In a checkout they are top-level folders, where people look for them; an installed package finds
them as genjax/configs and genjax/docs. Everything else about the package is in pyproject.toml.
"""

from setuptools import find_namespace_packages, setup

setup(
  packages=[*find_namespace_packages(include=["genjax*"]), "genjax.configs", "genjax.docs"],
  package_dir={"genjax.configs": "configs", "genjax.docs": "docs"},
)
