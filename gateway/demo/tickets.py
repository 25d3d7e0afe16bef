"""Synthetic support tickets of a made-up shop, with the label that the teacher gives."""

from __future__ import annotations

import random
from collections.abc import Iterator

import msgspec

PROMPT = (
    "You sort support tickets of an online shop. Answer with exactly one label: "
    "track-order, cancel-order, return-item, refund-status, damaged-item, change-address, "
    "payment-failed, invoice-copy, password-reset, close-account, product-question, discount-code."
)

SUBJECTS: dict[str, tuple[str, ...]] = {
    "track-order": ("where my {item} is", "when the {item} arrives", "why the parcel with the {item} has not moved"),
    "cancel-order": ("stop order {order}", "cancel the {item} I just bought", "undo my purchase of the {item}"),
    "return-item": ("send the {item} back", "return the {item}, it does not fit", "swap the {item} for another size"),
    "refund-status": ("when I get the money for the {item} back", "see the refund of order {order}", "know why order {order} is still not refunded"),
    "damaged-item": ("report that the {item} came broken", "complain, the {item} has a crack", "tell you that the {item} leaks"),
    "change-address": ("ship order {order} to my new flat", "correct the street on order {order}", "have the {item} delivered to my office"),
    "payment-failed": ("pay, but my card is declined", "understand why the payment for the {item} bounced", "retry the charge of order {order}"),
    "invoice-copy": ("get the invoice of order {order}", "download a receipt for the {item}", "have a bill with my VAT number for order {order}"),
    "password-reset": ("log in, I forgot my password", "reset my login", "get a new password link, none arrived"),
    "close-account": ("delete my account", "have all my data erased", "stop being a customer here"),
    "product-question": ("know if the {item} is waterproof", "learn what the {item} is made of", "ask whether the {item} fits a child"),
    "discount-code": ("use the code {code}", "know why voucher {code} is rejected", "apply my student discount to the {item}"),
}  # fmt: skip

OPENINGS = (
    "I want to {wish}.", "Hi, how can I {wish}?", "please help me {wish}", "I need to {wish} today",
    "hello, I would like to {wish}", "{wish}, please", "my question: can I {wish}?", "I have tried twice to {wish}",
    "Good morning. I have to {wish}.", "is it possible to {wish}", "who can help me {wish}?", "urgent: {wish}!",
)  # fmt: skip
DETAILS = (
    "", "", " I bought it on {day}.", " My neighbour said to ask on {day}.", " I wrote on {day} already.",
    " It was {price} euros.", " My customer number is {order}.", " Since {day} nobody has replied.",
)  # fmt: skip
DAYS = (
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
    "1 May",
    "3 June",
    "last week",
)
CLOSINGS = (
    "", "", "", " Thanks!", " It is for a gift.", " Order {order}.", " I am on holiday from Friday.",
    " Best wishes", " This is my second message.", " Sent from my phone", " I paid by card.",
)  # fmt: skip
ITEMS = (
    "blue kettle", "rain jacket", "desk lamp", "running shoes", "tent", "bread knife", "wool scarf", "bike helmet",
    "coffee grinder", "bookshelf", "yoga mat", "garden hose", "headphones", "suitcase", "toaster", "water bottle",
)  # fmt: skip
# The drift: the shop opens two new desks, and the teacher answers with their labels.
MOVED = {"damaged-item": "quality-desk", "return-item": "quality-desk", "refund-status": "payment-desk", "payment-failed": "payment-desk"}  # fmt: skip


class Pair(msgspec.Struct, frozen=True):
    """One request and the teacher's answer to it, as `--traffic` files hold them."""

    messages: list[dict[str, str]]
    answer: str

    @property
    def text(self) -> str:
        """The last message; the simulated teacher finds the answer by it."""
        return self.messages[-1]["content"]


def generate_tickets(count: int, seed: int, *, moved: bool = False) -> Iterator[Pair]:
    """Yield `count` tickets with the teacher's label; `moved` uses its changed rules."""
    rng = random.Random(seed)
    for _ in range(count):
        label = rng.choice(list(SUBJECTS))
        text = _ticket(label, rng)
        answer = MOVED.get(label, label) if moved else label
        yield Pair([{"role": "system", "content": PROMPT}, {"role": "user", "content": text}], answer)


def _ticket(label: str, rng: random.Random) -> str:
    slots = {
        "item": rng.choice(ITEMS),
        "order": f"#{rng.randrange(10_000, 99_999)}",
        "code": f"SAVE{rng.randrange(5, 60)}",
        "day": rng.choice(DAYS),
        "price": rng.randrange(5, 200),
    }
    wish = rng.choice(SUBJECTS[label]).format(**slots)
    opening = rng.choice(OPENINGS).format(wish=wish)
    return opening + rng.choice(DETAILS).format(**slots) + rng.choice(CLOSINGS).format(**slots)
