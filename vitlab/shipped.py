"""The YAML files that vitlab ships, found from any folder. Imports nothing heavy."""

import difflib
from pathlib import Path


def configs_folder() -> Path:
    """Return the folder of the shipped YAML files: beside the package in a checkout, inside it once installed."""
    package = Path(__file__).parent
    inside = package / "configs"
    return inside if inside.is_dir() else package.parent / "configs"


def find_config(name: str) -> Path:
    """Return a YAML file by its path, or by that of a shipped one such as configs/cnn.yaml; the user's come first.

    Raises:
        FileNotFoundError: It exists nowhere; the message names the nearest.
    """
    if Path(name).is_file():
        return Path(name)
    shipped = configs_folder() / name.removeprefix("configs/")
    if shipped.is_file():
        return shipped
    known = [str(path.relative_to(configs_folder().parent)) for path in configs_folder().rglob("*.yaml")]
    nearest = difflib.get_close_matches(name, known, n=1)
    raise FileNotFoundError(f"there is no config file {name}" + (f", did you mean {nearest[0]}?" if nearest else ""))
