"""A key that was made a moment ago is found, and guesses cost next to nothing."""

from __future__ import annotations

import asyncio
import threading

import pytest

from gateway.api.auth import Authenticator
from gateway.api.key_lookup import UNKNOWN_S, KeyLookup
from gateway.errors import RequestError
from gateway.store.keys import KeyFacts, hash_key

SECRET = b"sd-" + b"x" * 43
HOLDER = KeyFacts(id="key-1", name="app", tenant="app", created_at=0.0)


class Keys:
    """Keys on disk, and those of them that the worker has read."""

    def __init__(self) -> None:
        self.on_disk: dict[str, KeyFacts] = {}
        self.known: dict[str, KeyFacts] = {}
        self.readings = 0
        self.may_read = threading.Event()
        self.may_read.set()
        self.now = 0.0
        self.lookup = KeyLookup(self.refresh, self.known.__contains__, lambda: self.now)

    def refresh(self) -> None:
        self.readings += 1
        seen = dict(self.on_disk)
        self.may_read.wait()
        self.known.update(seen)

    async def identify(self, secret: bytes) -> str:
        authenticator = Authenticator("keys", self.known.get, self.lookup.look_up)
        return (await authenticator.identify(((b"authorization", b"Bearer " + secret),))).id


@pytest.fixture
def keys() -> Keys:
    return Keys()


async def test_a_key_made_a_moment_ago_is_found(keys: Keys) -> None:
    keys.on_disk[hash_key(SECRET)] = HOLDER

    assert await keys.identify(SECRET) == "app"
    assert await keys.identify(SECRET) == "app"
    assert keys.readings == 1


async def test_a_key_made_while_the_keys_are_read_is_found_by_the_next_reading(keys: Keys) -> None:
    keys.may_read.clear()
    other = asyncio.create_task(keys.lookup.look_up("other"))
    while not keys.readings:
        await asyncio.sleep(0)
    keys.on_disk[hash_key(SECRET)] = HOLDER

    found = asyncio.create_task(keys.identify(SECRET))
    await asyncio.sleep(0)
    keys.may_read.set()

    assert await found == "app"
    assert not await other
    assert keys.readings == 2


async def test_a_guess_that_is_repeated_is_not_looked_for_again(keys: Keys) -> None:
    for _ in range(5):
        with pytest.raises(RequestError):
            await keys.identify(SECRET)
    assert keys.readings == 1

    keys.now = UNKNOWN_S + 1
    with pytest.raises(RequestError):
        await keys.identify(SECRET)
    assert keys.readings == 2


async def test_many_guesses_at_once_share_a_reading(keys: Keys) -> None:
    guesses = [b"sd-" + b"%043d" % number for number in range(200)]

    got = await asyncio.gather(*map(keys.identify, guesses), return_exceptions=True)

    assert all(isinstance(each, RequestError) for each in got)
    assert keys.readings <= 2


@pytest.mark.parametrize("secret", [b"sk-proj-1", b"", b"sd-short", b"sd-" + b"x" * 44])
async def test_what_has_not_the_form_of_a_key_is_not_looked_for(keys: Keys, secret: bytes) -> None:
    with pytest.raises(RequestError):
        await keys.identify(secret)

    assert keys.readings == 0


async def test_keys_that_cannot_be_read_stay_unknown(keys: Keys) -> None:
    def fail() -> None:
        raise OSError("no disk")

    lookup = KeyLookup(fail, keys.known.__contains__)

    assert not await lookup.look_up("anything")
