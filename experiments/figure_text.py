"""Names that users and their files chose, as Matplotlib must be given them to draw them as they are."""


def plain(text: str) -> str:
    """`text` for a title, a tick or a legend: dollar signs begin no formula, a first ``_`` hides no legend."""
    escaped = text.replace("$", r"\$")
    return f" {escaped}" if escaped.startswith("_") else escaped
