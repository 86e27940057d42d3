"""HTML that is escaped by construction: a str is text, and only what element() made is markup."""

from html import escape

VOID = frozenset({"img", "meta"})  # elements that have no end tag


class Html(str):
    """Markup: escaped already, and never escaped again."""

    __slots__ = ()


def element(name: str, /, *children: str, **attributes: str) -> Html:
    """Return an element; children that are not Html are text, and are escaped.

    Attributes are named as in Python: class_ is class, aria_label is aria-label.
    """
    named = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"' for key, value in attributes.items()
    )
    if name in VOID:
        return Html(f"<{name}{named}>")
    return Html(f"<{name}{named}>{joined(children)}</{name}>")


def joined(children: tuple[str, ...] | list[str]) -> Html:
    """Return children one after another, those escaped that are not Html."""
    return Html("".join(child if isinstance(child, Html) else escape(child) for child in children))


def scrolled(table: Html) -> Html:
    """Return a table that scrolls by itself where the page is narrower than it."""
    return element("div", table, class_="scrolled", tabindex="0", role="region", aria_label="Table")
