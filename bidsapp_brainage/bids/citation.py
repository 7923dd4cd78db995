"""Methods text with references as Markdown, HTML and LaTeX, without any other program.

The text is a small part of Markdown: headings, paragraphs, ``*italic*``, ``**bold**``, code,
links and citations as ``[@key1; @key2]`` or ``@key``.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING

from bidsapp_brainage import io

if TYPE_CHECKING:
    from pathlib import Path

_ENTRY = re.compile(r"@\w+\{(?P<key>[\w-]+),\n(?P<body>.*?)\n\}", re.DOTALL)
_FIELD = re.compile(r"^\s*(\w+) = \{(.*)\},?$", re.MULTILINE)
_CITED = re.compile(r"@([a-z][\w-]*)")
_CITATION = re.compile(r"\[@[^\]]+\]|(?<![\w.])@[a-z][\w-]*")
_INLINE = re.compile(
    r"(?P<code>`[^`]+`)|(?P<bold>\*\*[^*]+\*\*)|(?P<italic>\*[^*]+\*)"
    r"|(?P<link>\[[^\]]+\]\(https?://[^)\s]+\))|(?P<cite>\[@[^\]]+\]|(?<![\w.])@[a-z][\w-]*)"
)
_ACCENTS = {
    r"{\'a}": "á",
    r"{\'o}": "ó",
    r"{\~n}": "ñ",
    r"{\'e}": "é",
    r"{\"o}": "ö",
    r"{\"u}": "ü",
}
_TEX_SPECIAL = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
}


@dataclass(frozen=True)
class Reference:
    """One entry of the bibliography; ``bibtex`` is the entry as it stands in the file."""

    key: str
    fields: Mapping[str, str]
    bibtex: str

    @property
    def who(self) -> str:
        """``Peng et al.``."""
        names = [name.split(",")[0] for name in self.fields["author"].split(" and ")]
        who = names[0] if len(names) == 1 else f"{names[0]} et al."
        if len(names) == 2 and names[1] != "others":
            who = f"{names[0]} and {names[1]}"
        return _plain(who)

    @property
    def short(self) -> str:
        """``Peng et al., 2021``, for use in parentheses."""
        return f"{self.who}, {self.fields['year']}"

    @property
    def textual(self) -> str:
        """``Peng et al. (2021)``, for use as a noun."""
        return f"{self.who} ({self.fields['year']})"

    @property
    def long(self) -> str:
        """Authors, title, journal (of a book: publisher), year, DOI as one line of plain text."""
        field = {name: _plain(value) for name, value in self.fields.items()}
        authors = field["author"].replace(" and others", " et al.").replace(" and ", "; ")
        printed = field.get("journal") or field["publisher"]
        place = " ".join(filter(None, [printed, field.get("volume")]))
        pages = f":{field['pages'].replace('--', '-')}" if "pages" in field else ""
        doi = f" https://doi.org/{field['doi']}" if "doi" in field else ""
        return f"{authors} ({field['year']}). {field['title']}. {place}{pages}.{doi}"


def bibliography() -> dict[str, Reference]:
    """All references that the methods text may cite, by key."""
    folder = resources.files("bidsapp_brainage").joinpath("data")
    text = folder.joinpath("boilerplate.bib").read_text("utf-8")
    return {
        match["key"]: Reference(match["key"], dict(_FIELD.findall(match["body"])), match[0])
        for match in _ENTRY.finditer(text)
    }


def cited_keys(text: str) -> list[str]:
    """Keys in the order of their first citation; unknown ones are left out."""
    known = bibliography()
    return [key for key in dict.fromkeys(_CITED.findall(text)) if key in known]


def write_citation(folder: Path, text_parts: Sequence[str], *, markdown_only: bool = False) -> None:
    """Write ``CITATION.{md,html,tex,bib}`` into a folder, from paragraphs of methods text.

    With `markdown_only` only the Markdown and the bibliography are written.
    """
    text = "\n\n".join(part.strip() for part in text_parts if part.strip()) + "\n"
    references = bibliography()
    used = [references[key] for key in cited_keys(text)]
    io.write_text(folder / "CITATION.md", render_markdown(text))
    io.write_text(folder / "CITATION.bib", "\n\n".join(ref.bibtex for ref in used) + "\n")
    if not markdown_only:
        io.write_text(folder / "CITATION.html", _html_page(render_html(text)))
        io.write_text(folder / "CITATION.tex", render_latex(text))


def render_markdown(text: str) -> str:
    """Methods text with citations written out and a list of references."""
    references = bibliography()
    body = _CITATION.sub(lambda match: _cite_text(match[0], references), text)
    keys = cited_keys(text)
    if not keys:
        return body
    listed = "\n".join(f"- {references[key].long}" for key in keys)
    return f"{body.rstrip()}\n\n## References\n\n{listed}\n"


def render_html(text: str) -> str:
    """Methods text as an HTML fragment; everything that is not markup is escaped."""
    references = bibliography()

    def inline(kind: str, piece: str) -> str:
        if kind == "link":
            label, target = _link_parts(piece)
            return f'<a href="{html.escape(target)}">{html.escape(label)}</a>'
        if kind == "cite":
            return html.escape(_cite_text(piece, references))
        tag = {"code": "code", "bold": "strong", "italic": "em"}[kind]
        return f"<{tag}>{html.escape(piece.strip('`*'))}</{tag}>"

    blocks = []
    for level, content in _blocks(text):
        done = _inline(content, inline, html.escape)
        tag = f"h{level + 1}" if level else "p"
        blocks.append(f"<{tag}>{done}</{tag}>")
    keys = cited_keys(text)
    if keys:
        items = "\n".join(f"<li>{html.escape(references[key].long)}</li>" for key in keys)
        blocks.append(f"<h3>References</h3>\n<ul>\n{items}\n</ul>")
    return "\n".join(blocks) + "\n"


def render_latex(text: str) -> str:
    """Methods text as a LaTeX document that cites ``CITATION.bib``."""

    def inline(kind: str, piece: str) -> str:
        if kind == "link":
            label, target = _link_parts(piece)
            return rf"\href{{{target}}}{{{_tex(label)}}}"
        if kind == "cite":
            keys = [key for key in _CITED.findall(piece) if key in bibliography()]
            return rf"\citep{{{','.join(keys)}}}" if keys else _tex(piece)
        command = {"code": "texttt", "bold": "textbf", "italic": "emph"}[kind]
        return rf"\{command}{{{_tex(piece.strip('`*'))}}}"

    parts = []
    for level, content in _blocks(text):
        done = _inline(content, inline, _tex)
        heading = {0: "{}", 1: r"\section*{{{}}}"}.get(level, r"\subsection*{{{}}}")
        parts.append(heading.format(done))
    body = "\n\n".join(parts)
    return (
        "\\documentclass{article}\n\\usepackage[utf8]{inputenc}\n\\usepackage{natbib}\n"
        "\\usepackage{hyperref}\n\\begin{document}\n\n"
        f"{body}\n\n\\bibliographystyle{{plainnat}}\n\\bibliography{{CITATION}}\n"
        "\\end{document}\n"
    )


def _blocks(text: str) -> list[tuple[int, str]]:
    """Headings (level 1 and more) and paragraphs (level 0), each on one line."""
    blocks = []
    for chunk in re.split(r"\n\s*\n|(?<=\n)(?=#)", text.strip()):
        match = re.match(r"(#{1,5})\s+(.*)", chunk)
        if match:
            blocks.append((len(match[1]), match[2].strip()))
            chunk = chunk[match.end() :]
        content = " ".join(chunk.split())
        if content:
            blocks.append((0, content))
    return blocks


def _inline(content: str, render: Callable[[str, str], str], escape: Callable[[str], str]) -> str:
    """Render the marked pieces of one block and escape the rest."""
    pieces, end = [], 0
    for match in _INLINE.finditer(content):
        pieces.append(escape(content[end : match.start()]))
        pieces.append(render(str(match.lastgroup), match[0]))
        end = match.end()
    return "".join([*pieces, escape(content[end:])])


def _cite_text(piece: str, references: Mapping[str, Reference]) -> str:
    """``(Peng et al., 2021; Esteban et al., 2019)`` for ``[@sfcn; @fmriprep]``, or a noun."""

    def name(match: re.Match[str]) -> str:
        reference = references.get(match[1])
        if reference is None:
            return match[0]
        return reference.short if grouped else reference.textual

    grouped = piece.startswith("[")
    text = _CITED.sub(name, piece)
    return f"({text[1:-1]})" if grouped else text


def _link_parts(piece: str) -> tuple[str, str]:
    label, _, target = piece[1:-1].partition("](")
    return label, target


def _plain(text: str) -> str:
    """BibTeX field as plain text."""
    for code, letter in _ACCENTS.items():
        text = text.replace(code, letter)
    return text.replace(r"\&", "&").replace("{", "").replace("}", "").replace("`", "'")


def _tex(text: str) -> str:
    return "".join(_TEX_SPECIAL.get(letter, letter) for letter in text)


def _html_page(fragment: str) -> str:
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f"<title>Methods</title>\n</head>\n<body>\n{fragment}</body>\n</html>\n"
    )
