"""Selector expressions: which columns of a table the keys of its metadata name."""

import re

import numpy as np

TOKEN = re.compile(
    r"""\s*(?:(?P<operator>[=|+&()-])|"(?P<a>[^"]*)"|'(?P<b>[^']*)'|(?P<word>[^\s=|+&()"'-]+))"""
)
DEEPEST = 100  # parentheses within parentheses
COMBINE = {
    "|": np.logical_or,
    "+": np.logical_or,
    "&": np.logical_and,
    "-": lambda left, right: left & ~right,
}


def mask(expression, members):
    """Columns that a selector expression names.

    Parameters
    ----------
    expression : str
        Keys, joined by `|` or `+` (or), `&` (and), `-` (and not), which share one rank and associate
        left; `K = n` binds tighter and compares membership (1 or 0), never samples: `K = 1` is `K`,
        `K = 0` its complement, `K = 3` nothing. Parentheses group. `*` in a key stands for any
        characters, and all keys that match count. Quotes protect operators and blanks in a key.
    members : callable
        From a key, or a pattern with `*`, to the columns that belong to it (bool array); raises ValueError
        if there is no such key.

    Returns
    -------
    bool array (n_columns,)

    Raises
    ------
    ValueError
        If the expression is malformed or nested too deeply, or a key is unknown.

    References
    ----------
    The selector language of bdpy, https://github.com/KamitaniLab/bdpy (MIT licence).
    """
    return _Selector(expression, members).mask()


class _Selector:
    """A selector expression, evaluated from left to right."""

    def __init__(self, expression, members):
        self.expression, self.members, self.tokens, self.depth, end = expression, members, [], 0, 0
        while found := TOKEN.match(expression, end):
            end = found.end()
            quoted = found["a"] if found["a"] is not None else found["b"]
            kind = "operator" if found["operator"] else "key" if quoted is not None else "word"
            self.tokens.append((kind, found["operator"] or found["word"] or quoted))
        if expression[end:].strip():
            self._refuse(f"cannot be read from {expression[end:].strip()!r} on")
        self.tokens.reverse()

    def mask(self):
        """Columns that the whole expression names."""
        found = self._sum()
        if self.tokens:
            self._refuse(f"goes on after its end, at {self.tokens[-1][1]!r}; join keys by one of | + & -")
        return found

    def _sum(self):
        found = self._comparison()
        while self.tokens and self.tokens[-1][0] == "operator" and self.tokens[-1][1] in COMBINE:
            combine = COMBINE[self.tokens.pop()[1]]
            found = combine(found, self._comparison())
        return found

    def _comparison(self):
        found = self._operand()
        while self.tokens and self.tokens[-1] == ("operator", "="):
            self.tokens.pop()
            kind, number = self.tokens.pop() if self.tokens else ("end", "its end")
            if kind != "word" or not re.fullmatch("[0-9]{1,9}", number):
                self._refuse(f"compares with {number!r}; only whole numbers stand behind =")
            found = found == int(number)
        return found

    def _operand(self):
        kind, text = self.tokens.pop() if self.tokens else ("end", "its end")
        if (kind, text) == ("operator", "("):
            self.depth += 1
            if self.depth > DEEPEST:
                self._refuse(f"has more than {DEEPEST} parentheses within one another")
            found = self._sum()
            self.depth -= 1
            if not self.tokens or self.tokens.pop() != ("operator", ")"):
                self._refuse("lacks a closing parenthesis")
            return found
        if kind == "key" or (kind == "word" and not text.isdecimal()):
            return self.members(text)
        return self._refuse(f"has {text!r} where a key or ( belongs")

    def _refuse(self, fault):
        raise ValueError(f"selector {self.expression!r} {fault}")
