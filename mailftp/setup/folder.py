"""Making a server's folder: `mailftp init` and the quickstart."""

from __future__ import annotations

import json
import os
from pathlib import Path

from mailftp.origin.dkim_folder import make_key
from mailftp.setup.authority import make_certificates, write_new

#: Service -> port, all on loopback: none needs root.
PORTS = {
    "ftp": 2121, "ftps": 2990, "smtp": 2525, "submission": 2587, "submissions": 2465,
    "pop3": 2110, "pop3s": 2995, "imap": 2143, "imaps": 2993,
}  # fmt: skip
DNS_PORT = 2053

TEMPLATE = """\
# mailftp's settings. Relative paths start at the folder that this file is in. Every key may be left out.
# `mailftp check --config FILE` says what is wrong; `mailftp reload --config FILE` takes it without a restart.

data     = "data"                 # the store, files and keys live here
hostname = {hostname}
domains  = {domains}
workers  = 1

# Each service listens on a list of Twisted server endpoint strings; a service without a line is off.
# Services named ...s are TLS from the first byte. The usual ports are ftp 21, ftps 990, smtp 25,
# submission 587, submissions 465, pop3 110, pop3s 995, imap 143, imaps 993 and dns 53, both tcp: and udp:.
[listen]
{listen}

[tls]
certificate = "tls/cert.pem"      # PEM chain; watched, and reloaded without a restart
key         = "tls/key.pem"
# certificates = "tls/live"       # or a folder of certificates, one chosen by SNI
# client_ca  = "tls/clients.pem"  # who signs client certificates that may log in

[proxy]
trusted = []                      # networks whose PROXY header is believed

[auth]
plaintext       = []              # protocols that take a password without TLS, e.g. ["ftp"] for scanners
failure_delay   = 2.0             # seconds, grows with failures from one network
failures_closed = 3               # failed attempts that close a connection
argon2          = {{ time_cost = 2, memory_cost = 19456, parallelism = 1 }}

[limits]
message_size        = "50MB"
recipients          = 1000
connections         = 10000
connections_per_ip  = 200
idle_timeout        = {{ smtp = 300, pop3 = 600, imap = 1860, ftp = 300 }}   # seconds
login_timeout       = 60

[store]
url = "sqlite:mail.sqlite"        # under data
# blobs = "file:blobs"            # message bodies too large to keep in the database

[quota]
mail  = "unlimited"               # per account, an account's own setting wins
# messages = "unlimited"         # how many of them
files = "unlimited"

[delivery]
# smarthost     = {{ host = "smtp.example.net:587", username = "u", password_file = "smarthost.secret" }}
port            = 25              # the port that other domains' MX hosts are called on
helo            = ""              # default: hostname
retry           = ["5m", "15m", "30m", "1h", "2h", "4h", "8h", "16h"]   # then the last, until give_up
give_up         = "5d"
delay_warning   = "4h"
concurrency     = {{ total = 200, per_destination = 10 }}
{capture}

[delivery.routes]                 # where a domain's mail goes; asked before MX
# "example.org" = "mail.example.org:2525"
# "example.net" = "lmtp:127.0.0.1:24"

[dns]
servers  = []                     # resolvers to ask; default: /etc/resolv.conf
trust_ad = false                  # believe their AD bit: a validating resolver on loopback
{zones}
# zone_files  = {{ "example.test" = "example.test.zone" }}   # records of your own
# addresses   = ["192.0.2.1"]     # of hostname, where NAT hides it; default: the listeners'
# secondaries = ["192.0.2.53"]    # may transfer the zones, and are told of changes

[dns.forward]                     # names below these are asked of that server
# "b.test" = "127.0.0.2:2053"

[http]
prefix = "/"                      # where the pages stand behind another web server

[ftp]
passive_ports   = "30000-30999"   # "" for any
passive_address = ""              # the address to give in PASV behind NAT
root            = "files"         # home folders: <data>/<root>/<domain>/<local part>
durable         = true            # 226 means that the bytes are on disk
tls             = "optional"      # "required": no data connection without TLS either
anonymous       = ""              # a folder to serve read-only to anonymous

[origin]                          # what is checked of mail from strangers: "off", "mark" or "enforce"
{origin}

[strangers]                       # clients that bring mail and have not logged in, but for origin.trusted
connections_per_minute  = 300     # from one address (one /64 of IPv6)
commands_per_minute     = 6000
greeting_delay          = 1       # seconds; who speaks before is sent away
unknown_recipient_delay = 1       # seconds, grows with their number
data_rate               = 100     # octets a second
dnsbl                   = []      # e.g. ["zen.spamhaus.org"]
greylist                = 0       # e.g. "5m"; 0: no grey list

[log]
level  = "info"
format = "text"                   # or "json", one event a line
"""

#: Not for everybody: named, so that whoever looks for them finds where they are.
_OTHERS = """\
# lmtp      = ["unix:lmtp.sock"]
# imap      = ["tcp:2143:interface=127.0.0.1"]
# imaps     = ["tcp:2993:interface=127.0.0.1"]
# http      = ["tcp:2080:interface=127.0.0.1"]
# https     = ["tcp:2443:interface=127.0.0.1"]"""
_DNS = f'["tcp:{DNS_PORT}:interface=127.0.0.1", "udp:{DNS_PORT}:interface=127.0.0.1"]'

_ORIGIN = """\
spf     = "mark"
dkim    = "mark"
dmarc   = "enforce"               # the policy of the author's domain is applied
iprev   = "mark"
trusted = ["127.0.0.1", "::1"]    # networks whose mail is checked for signatures alone"""

#: A server that catches everything is to ask nobody, and to take all.
_ORIGIN_OFF = """\
spf     = "off"
dkim    = "off"
dmarc   = "off"
iprev   = "off\""""

DKIM_SELECTOR = "mailftp"


class FolderExists(Exception):
    """There is something in the way; its text names it."""


def settings_text(
    hostname: str, domains: tuple[str, ...], capture: str = "", zones: tuple[str, ...] = ()
) -> str:
    """A settings file, the layout that scripts rely on: a key a line. Without `zones` the name service is
    off."""
    listen = [
        f"{service:<11} = {json.dumps([f'tcp:{port}:interface=127.0.0.1'])}"
        for service, port in PORTS.items()
    ]
    mark = "" if zones else "# "
    listen += [_OTHERS, f"{mark + 'dns':<11} = {_DNS}"]
    answered = f"zones    = {json.dumps(list(zones or domains))}"
    return TEMPLATE.format(
        hostname=json.dumps(hostname),
        domains=json.dumps(list(domains)),
        listen="\n".join(listen),
        zones=f"{mark}{answered}   # answered for on listen.dns",
        origin=_ORIGIN_OFF if capture else _ORIGIN,
        capture=f"capture         = {json.dumps(capture)}"
        if capture
        else '# capture       = "archive@example.test"   # nothing leaves: all of it lands in this mailbox',
    )


def make_folder(
    folder: Path,
    hostname: str,
    domains: tuple[str, ...],
    capture: str = "",
    zones: tuple[str, ...] = (),
) -> Path:
    """Make a server's folder and answer its settings file.

    Writes the settings last, so that a folder with settings is whole. Raises FolderExists before
    anything is written when something of it is there already, and OSError.
    """
    settings = folder / "mailftp.toml"
    for taken in (settings, folder / "tls", folder / "data"):
        if os.path.lexists(taken):
            raise FolderExists(f"{taken} is there already and is not overwritten")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tls").mkdir(0o755)
    (folder / "data").mkdir(0o700)
    make_certificates(folder / "tls", hostname)
    for domain in domains:
        keys = folder / "data" / "dkim" / domain
        keys.mkdir(0o700, parents=True)
        # RSA is what every verifier knows; Ed25519 (RFC 8463) is for those to come.
        make_key(keys / f"{DKIM_SELECTOR}.pem", "rsa")
        make_key(keys / f"{DKIM_SELECTOR}-ed25519.pem", "ed25519")
    write_new(settings, settings_text(hostname, domains, capture, zones).encode())
    return settings
