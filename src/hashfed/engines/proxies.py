"""Proxies that the environment names (``HTTP_PROXY``, ``ALL_PROXY``, ``NO_PROXY``, in small letters too).

A connection within this machine never uses one; whoever cannot reach another machine through one is told.
"""

import os
import urllib.request
from collections.abc import Mapping
from ipaddress import ip_address
from urllib.parse import urlsplit

LOOPBACK = ("localhost", "127.0.0.1", "::1")
"""Hosts within this machine, without brackets, which httpx takes for a mistake."""


def is_loopback(host: str) -> bool:
    """Whether a host is this machine; nothing is looked up."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost" or host.lower().endswith(".localhost")


def proxy_of(url: str) -> tuple[str, str] | None:
    """The variable that says through which proxy ``url`` is asked, and its value; None without one."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return None  # nobody can be asked there
    if is_loopback(parts.hostname or "") or urllib.request.proxy_bypass(parts.netloc.rpartition("@")[2]):
        return None
    proxies = urllib.request.getproxies()
    for scheme in (parts.scheme, "all"):
        if proxies.get(scheme):
            names = (f"{scheme}_proxy", f"{scheme}_proxy".upper())
            name = next((name for name in names if os.environ.get(name)), "the system's settings")
            return name, proxies[scheme]
    return None


def through(url: str) -> str:
    """For a message about a connection: the proxy that it goes through, without its password."""
    found = proxy_of(url)
    return "" if found is None else f", through the proxy {found[0]} = {hide_password(found[1])}"


def proxy_handler(url: str, never: bool = False) -> urllib.request.ProxyHandler:
    """For an opener of ``urllib`` that asks ``url`` through its proxy; ``never``: through none."""
    found = None if never else proxy_of(url)
    return urllib.request.ProxyHandler({} if found is None else {urlsplit(url).scheme: found[1]})


def hide_password(proxy: str) -> str:
    """The proxy without the password in it."""
    before, at, host = proxy.rpartition("@")
    scheme, slashes, account = before.rpartition("//")
    user, colon, _ = account.partition(":")
    return f"{scheme}{slashes}{user}{colon and ':***'}{at}{host}"


def never_proxied(environment: Mapping[str, str], *hosts: str) -> dict[str, str]:
    """Variables for a child process that asks this machine, and ``hosts``, through no proxy; ``*``: all."""
    before = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    names = [name.strip(" []") for name in before.split(",") if name.strip(" []")]
    value = "*" if "*" in (*names, *hosts) else ",".join(dict.fromkeys([*names, *LOOPBACK, *hosts]))
    return {"no_proxy": value, "NO_PROXY": value}
