"""Two seals for public classes: one against subclasses, one against construction by hand.

Law: a class that promises its behaviour exactly cannot be changed by inheriting from it, and an object that only the
kernel can make right is only made by the kernel, through `_create`.
Who uses it: the public classes of this package. Read next: `_current.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, final as typing_final

T = TypeVar("T")
C = TypeVar("C", bound=type)


def _refuse_subclass(cls: type, /, **_: object) -> NoReturn:
    raise TypeError(f"{cls.__mro__[1].__qualname__} cannot be subclassed; wrap it in a class of your own instead")


def sealed(cls: C) -> C:
    """Make a class final for type checkers and at run time."""
    cls.__init_subclass__ = classmethod(_refuse_subclass)  # type: ignore[assignment]
    return typing_final(cls)


class NoConstructor(type):
    """A metaclass for classes that users see and hold but never make."""

    def __call__(cls, *args: object, **kwargs: object) -> NoReturn:
        raise TypeError(f"{cls.__module__}.{cls.__qualname__} has no public constructor")

    if TYPE_CHECKING:

        def _create(cls: type[T], *args: Any, **kwargs: Any) -> T: ...

    else:
        _create = type.__call__  # itself, not a function around it: there may be very many tasks
