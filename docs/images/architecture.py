"""Draw the layers of the package: what `pyproject.toml` lets import what, and what each module says it is.

Run it after a layer or the first sentence of a module at the top of the package has changed:

    python docs/images/architecture.py docs/images/architecture.svg
"""

import ast
import re
import sys
import tomllib
from html import escape
from pathlib import Path

ROOT = Path(__file__).parents[2]
WIDTH, ROW, GAP, LEFT, TEXT = 980, 20, 22, 170, 330


def layers() -> list[tuple[str, list[str]]]:
    """Layers from the top to the bottom: the sign that joins their modules, and the modules that are there."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contract = next(one for one in project["tool"]["importlinter"]["contracts"] if one["name"] == "layers")
    split = [(":" if ":" in layer else "|", re.findall(r"\w+", layer)) for layer in contract["layers"]]
    return [(sign, [name for name in names if source(name).exists()]) for sign, names in split]


def source(name: str) -> Path:
    """The file of a module, or of a package's own text."""
    package = ROOT / "src" / "descentlab"
    return package / name / "__init__.py" if (package / name).is_dir() else package / f"{name}.py"


def sentence(name: str) -> str:
    """The first line of a module's docstring, cut where it would leave the picture."""
    line = (ast.get_docstring(ast.parse(source(name).read_text())) or "").partition("\n")[0].replace("`", "")
    return line if len(line) <= 92 else line[:90].rsplit(" ", 1)[0] + " ..."


def picture() -> str:
    """The picture as SVG; an arrow leads from a layer to those below, which it may import."""
    drawn, y = [], GAP
    every = [(sign, names) for sign, names in layers() if names]
    for at, (sign, names) in enumerate(every):
        height = ROW * len(names) + 8
        drawn.append(f'<rect x="{LEFT}" y="{y}" width="{WIDTH - LEFT - 10}" height="{height}" rx="6"/>')
        if len(names) > 1:
            said = "may import each other" if sign == ":" else "do not import each other"
            drawn.append(f'<text class="note" x="{LEFT - 8}" y="{y + height / 2 + 4:g}">{said}</text>')
        for line, name in enumerate(names):
            base = y + 4 + ROW * line + 14
            drawn.append(f'<text class="name" x="{LEFT + 10}" y="{base}">{escape(name)}</text>')
            drawn.append(f'<text x="{TEXT}" y="{base}">{escape(sentence(name))}</text>')
        y += height
        if at < len(every) - 1:
            x = LEFT + 60
            drawn.append(f'<path d="M{x} {y}v{GAP - 6}"/><path class="tip" d="M{x - 5} {y + GAP - 7}h10l-5 7z"/>')
        y += GAP
    style = (
        "svg{background:#fff}rect{fill:#eef6f5;stroke:#00796b}text{font:13px sans-serif;fill:#222}"
        ".name{font:bold 13px monospace}.note{font:italic 11px sans-serif;text-anchor:end;fill:#666}"
        "path{stroke:#00796b;stroke-width:1.5}.tip{fill:#00796b;stroke:none}"
    )
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" width="{WIDTH}" height="{y}">'
    return "\n".join([head, "<title>Layers of descentlab</title>", f"<style>{style}</style>", *drawn, "</svg>"]) + "\n"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(picture())
