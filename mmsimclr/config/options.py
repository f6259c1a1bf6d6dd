"""Values of a config that are given on the command line."""

from argparse import Action, ArgumentError, ArgumentParser, Namespace
from collections.abc import Sequence
from typing import Any

_CLOSING = {'(': ')', '[': ']'}
_WORDS = {'true': True, 'false': False, 'None': None}


class ConfigOptions(Action):
    """Collects ``KEY=VALUE`` into a dict; the values as :func:`parse_value` reads them."""

    def __call__(self, parser: ArgumentParser, namespace: Namespace, values: Sequence[str],
                 option_string: str | None = None) -> None:
        """Add the options to those given before."""
        options = dict(getattr(namespace, self.dest, None) or {})
        for text in values:
            key, equals, value = text.partition('=')
            if not key or not equals:
                raise ArgumentError(self, f'options must be KEY=VALUE, got {text!r}')
            try:
                options[key] = parse_value(value)
            except ValueError as error:
                raise ArgumentError(self, f'{key}: {error}') from error
        setattr(namespace, self.dest, options)


def parse_value(text: str) -> Any:
    """Return the value that a text on the command line stands for.

    It reads what MMEngine's ``DictAction`` reads, and leaves spaces in texts and commas in quoted ones, as
    paths have them.

    Args:
        text: A number; true, false or None; ``[a,b]`` or ``a,b``, a list; ``(a,b)``, a tuple; else itself.
            In quotes it is a text whatever it looks like.

    Raises:
        ValueError: If brackets or quotes in it are not closed.
    """
    text = text.strip()
    if len(text) >= 2 and text[0] == text[-1] and text[0] in '\'"' and text[0] not in text[1:-1]:
        return text[1:-1]
    items = _split(text)
    if len(items) > 1 or text.endswith(','):
        return [parse_value(item) for item in items]
    if text[:1] in _CLOSING and text.endswith(_CLOSING[text[0]]):
        inner = [parse_value(item) for item in _split(text[1:-1])]
        return tuple(inner) if text[0] == '(' else inner
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return _WORDS.get(text if text == 'None' else text.lower(), text)


def _split(text: str) -> list[str]:
    """Split at the commas that are in no brackets and no quotes."""
    items, open_brackets, quote = [''], [], ''
    for character in text:
        if quote:
            quote = '' if character == quote else quote
        elif character in '\'"' and not items[-1].strip():
            quote = character
        elif character in _CLOSING:
            open_brackets.append(_CLOSING[character])
        elif open_brackets and character == open_brackets[-1]:
            open_brackets.pop()
        elif character == ',' and not open_brackets:
            items.append('')
            continue
        items[-1] += character
    if open_brackets and ',' in text:
        raise ValueError(f'{open_brackets[-1]} is missing in {text!r}; a text with commas and brackets '
                         'goes in quotes')
    return items if items[-1].strip() else items[:-1]
