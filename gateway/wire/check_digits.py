"""Check digits of the numbers of cards and bank accounts."""

from __future__ import annotations

import re

_DIGITS_IN_LOWER_CASE = 12
"""Of an IBAN in small letters: with fewer it may be a name or a hash."""
_ISSUED = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})|(?:5[1-5]|2[2-7]|35)\d{14}|3[47]\d{13}|3(?:0[0-5]|[689]\d)\d{11}|6\d{15,18}"
).fullmatch
"""Numbers of the issuers of cards, by their beginnings and lengths: ISO 7812."""


def passes_luhn(text: str) -> bool:
    """Whether the digits of `text` may be the number of a card: 13 to 19, with its check digit."""
    digits = [int(digit) for digit in text if digit.isdecimal()]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[-2::-2]]
    is_long_enough = 13 <= len(digits) <= 19 and len(set(digits)) > 1
    return is_long_enough and (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def passes_as_issued(text: str) -> bool:
    """Whether such a number also begins, and is as long, as those of an issuer."""
    digits = "".join(digit for digit in text if digit.isdecimal())
    return bool(_ISSUED(digits)) and passes_luhn(digits)


def passes_iban(text: str) -> bool:
    """Whether `text` is the number of a bank account, in groups or not."""
    plain = text.replace(" ", "").replace("-", "")
    # ISO 13616: the country and the check digits go last, letters count from 10, and the rest of 97 is 1.
    if not (15 <= len(plain) <= 34 and plain[:2].isalpha()):
        return False
    if plain.islower() and sum(map(str.isdecimal, plain)) < _DIGITS_IN_LOWER_CASE:
        return False
    return int("".join(str(int(letter, 36)) for letter in plain[4:] + plain[:4])) % 97 == 1
