"""The content tree of a document, whatever its template: items by position, references between them resolved (PS3.3 C.17.3)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from pydicom.dataset import Dataset

from cinemill.operations.inspect.documents.values import code_of, integers_of, items_of, quiet, text_of
from cinemill.operations.inspect.model import Code

_CONTENT = "ContentSequence"
_DEEPEST = 200
"""Levels of a tree; templates have about ten."""


@dataclass(slots=True, eq=False)
class ContentItem:
    """One node of a content tree.

    Attributes
    ----------
    position
        Counted from 1 at each level; the root is ``(1,)``.
    parent
        None at the root.
    relationship
        To the parent, such as ``HAS CONCEPT MOD``; empty at the root.
    value_type
        ``NUM``, ``CODE``, ``CONTAINER`` …; empty where the item stands elsewhere in the tree.
    concept
        Its name, None where it has none.
    dataset
        Where its value stands.
    template
        Template ID that the item itself states.
    target
        Position of the item that this one stands for, empty for one that is there by value.
    children
        In the order of the document.
    """

    position: tuple[int, ...]
    parent: ContentItem | None
    relationship: str
    value_type: str
    concept: Code | None
    dataset: Dataset
    template: str
    target: tuple[int, ...] = ()
    children: list[ContentItem] = field(default_factory=list)

    @property
    def place(self) -> str:
        """The position as people write it: ``1.4.2``."""
        return ".".join(map(str, self.position))

    def upwards(self) -> Iterator[ContentItem]:
        """Yield this item, the one above it, and so on to the root."""
        item: ContentItem | None = self
        while item is not None:
            yield item
            item = item.parent


class Content:
    """A document's tree.

    Parameters
    ----------
    header
        Of the instance; None where it is surely no document.

    Attributes
    ----------
    items : dict
        All items by position, in the order of the document; empty where the instance is no document.
    too_deep : bool
        Whether items below the deepest level that is read were left out.
    """

    def __init__(self, header: Dataset | None) -> None:
        self.items: dict[tuple[int, ...], ContentItem] = {}
        self.too_deep = False
        if header is not None and (text_of(header, "ValueType") or _CONTENT in header):
            with quiet():
                self._read(header)

    def _read(self, header: Dataset) -> None:
        waiting = [_item(header, (1,), None)]
        while waiting:
            item = waiting.pop()
            self.items[item.position] = item
            below = items_of(item.dataset, _CONTENT)
            if below and len(item.position) >= _DEEPEST:
                self.too_deep = True
                continue
            item.children = [
                _item(each, (*item.position, number), item) for number, each in enumerate(below, 1)
            ]
            waiting += reversed(item.children)

    @property
    def title(self) -> Code | None:
        """The name of the root."""
        return self.items[1,].concept if self.items else None

    def resolve(self, item: ContentItem) -> ContentItem | None:
        """Return the item that one stands for, itself where it is there by value; None where it points nowhere."""
        seen = set()
        while item.target:
            if item.position in seen or item.target not in self.items:
                return None
            seen.add(item.position)
            item = self.items[item.target]
        return item


def _item(dataset: Dataset, position: tuple[int, ...], parent: ContentItem | None) -> ContentItem:
    value_type = text_of(dataset, "ValueType")
    template = next(
        (text_of(each, "TemplateIdentifier") for each in items_of(dataset, "ContentTemplateSequence")), ""
    )
    return ContentItem(
        position=position,
        parent=parent,
        relationship=text_of(dataset, "RelationshipType") if parent else "",
        value_type=value_type,
        concept=code_of(dataset, "ConceptNameCodeSequence"),
        dataset=dataset,
        template=template,
        target=() if value_type else integers_of(dataset, "ReferencedContentItemIdentifier"),
    )
