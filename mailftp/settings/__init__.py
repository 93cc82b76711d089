"""The settings file as frozen dataclasses; every key of it, its type, its default and what it says.

The keys are a contract with other people's scripts: they may be added to, not renamed.
Sizes are octets, times are seconds, paths are absolute once read. `None` for a quota or an
optional path means that the file does not set one.

Reading, checking and the errors that name a key live in `mailftp.settings.file`; here is only what the
rest of the house sees. The text of each key is the reference: docs/reference/settings.rst is made of it by
`mailftp.settings.reference`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

Network = IPv4Network | IPv6Network

#: Services whose connections are TLS from the first octet.
IMPLICIT_TLS = frozenset({"ftps", "submissions", "pop3s", "imaps", "https"})

#: Every service that `[listen]` knows.
SERVICES = (
    "ftp", "ftps", "smtp", "submission", "submissions", "lmtp", "pop3", "pop3s",
    "imap", "imaps", "http", "https", "dns",
)  # fmt: skip


def _key(default: T, doc: str) -> T:
    """A key: its default, and its text in the reference."""
    return field(default=default, metadata={"doc": doc})


def _made(factory: Callable[[], T], doc: str = "") -> T:
    """A key whose default cannot be shared, a table for one."""
    return field(default_factory=factory, metadata={"doc": doc})


@dataclass(frozen=True, slots=True)
class TLS:
    certificate: Path = _key(
        Path("tls/cert.pem"), "The certificate chain, PEM. It is watched, and reloaded without a restart."
    )
    key: Path = _key(Path("tls/key.pem"), "The private key of the certificate, PEM.")
    certificates: Path | None = _key(
        None,
        "A folder of certificates as certbot lays it out, one chosen by the name that a client asks for.",
    )
    client_ca: Path | None = _key(None, "Who signs the client certificates that may log in, PEM.")


@dataclass(frozen=True, slots=True)
class Proxy:
    trusted: tuple[Network, ...] = _key(
        (), "Networks whose PROXY header (or X-Forwarded-For) is believed. Nobody else's is."
    )


@dataclass(frozen=True, slots=True)
class Argon2:
    time_cost: int = _key(2, "Passes over the memory.")
    memory_cost: int = _key(19456, "KiB that one hash takes.")
    parallelism: int = _key(1, "Lanes of one hash.")


@dataclass(frozen=True, slots=True)
class Auth:
    plaintext: tuple[str, ...] = _key(
        (),
        'Protocols that take a password without TLS, ["ftp"] for an office scanner. A client on loopback '
        "always may, unless it comes through a proxy.",
    )
    failure_delay: float = _key(
        2.0, "What a failed login waits for its answer; it grows with the failures from one network."
    )
    failures_closed: int = _key(3, "Failed logins that close a connection.")
    argon2: Argon2 = _key(
        Argon2(), "The cost of a password hash. New passwords take it; old hashes stay valid."
    )


@dataclass(frozen=True, slots=True)
class Limits:
    message_size: int = _key(50 * 1000 * 1000, "The largest message that is taken.")
    recipients: int = _key(1000, "Recipients of one message.")
    connections: int = _key(10000, "Connections at one time, all services together.")
    connections_per_ip: int = _key(200, "Connections at one time from one address (one /64 of IPv6).")
    idle_timeout: Mapping[str, float] = _made(
        lambda: {"smtp": 300.0, "pop3": 600.0, "imap": 1860.0, "ftp": 300.0, "http": 60.0},
        "How long a client may be silent, by protocol. What is not named keeps its default.",
    )
    login_timeout: float = _key(60.0, "How long a client may take to log in.")
    header_size: int = _key(256 * 1024, "The largest header of a message that is taken.")
    mime_parts: int = _key(1000, "MIME parts of a message from a stranger.")
    mime_depth: int = _key(50, "MIME parts within each other, in a message from a stranger.")


@dataclass(frozen=True, slots=True)
class StoreSettings:
    url: str = _key(
        "sqlite:mail.sqlite",
        'The database, "sqlite:FILE"; a relative name is below `data`. "memory:" is for tests.',
    )
    blobs: str = _key(
        "file:blobs",
        'Message bodies too large to keep in the database, "file:FOLDER"; a relative name is below `data`.',
    )
    text_index: bool = _key(
        True,
        "Keep an index of the words in the mail, which takes about twice the room of its texts; without it"
        " each search for words reads all messages of the mailbox.",
    )


@dataclass(frozen=True, slots=True)
class Quota:
    mail: int | None = _key(None, "What the mail of one account may take; an account's own setting wins.")
    messages: int | None = _key(
        None, "How many messages one account may have, in all its mailboxes; an account's own setting wins."
    )
    files: int | None = _key(None, "What the files of one account may take; an account's own setting wins.")


@dataclass(frozen=True, slots=True)
class Smarthost:
    host: str = field(metadata={"doc": 'The server that takes all outgoing mail, "smtp.example.net:587".'})
    username: str = _key("", "The login name there; empty: none is given.")
    password_file: Path | None = _key(None, "A file whose first line is the password there.")


@dataclass(frozen=True, slots=True)
class Concurrency:
    total: int = _key(200, "Deliveries at one time.")
    per_destination: int = _key(10, "Deliveries at one time to one domain.")


@dataclass(frozen=True, slots=True)
class DeliveryRule:
    recipients: tuple[str, ...] = _key(
        (),
        'Whose mail, domains or addresses: "example.org", "*.example.org", "bob@*". None: all.',
    )
    senders: tuple[str, ...] = _key((), 'Who it is from, likewise; "<>" is the null sender. None: anybody.')
    from_attempt: int = _key(1, "It holds from this attempt on.")
    to: str = _key(
        "mx",
        'Where it goes: "mx" (the hosts of its domain), "HOST:PORT", "lmtp:HOST:PORT", "refuse", or '
        '"plugin:NAME" for a twisted.plugin of `IMailTransport`.',
    )
    refusal: str = _key(
        "550 5.7.1 Mail to this address is not sent from here", "With refuse: what the sender is told."
    )
    tls: str = _key(
        "opportunistic",
        '"required": only over TLS with a certificate for the host\'s name; "none": never TLS.',
    )
    source: tuple[str, ...] = _key((), "Addresses of this machine to call from, one of each family at most.")
    socks: str = _key("", "A SOCKS5 proxy to call through, HOST:PORT.")
    socks_login_file: Path | None = _key(None, "A file whose first line is the login there, NAME:PASSWORD.")
    username: str = _key("", "The login name there; empty: none is given.")
    password_file: Path | None = _key(None, "A file whose first line is the password there.")


@dataclass(frozen=True, slots=True)
class Delivery:
    smarthost: Smarthost | None = _key(
        None, "A server that takes all outgoing mail. Routes are asked before."
    )
    port: int = _key(25, "The port that other domains' MX hosts are called on.")
    helo: str = _key("", "The name that the client gives in EHLO; empty: `hostname`.")
    retry: tuple[float, ...] = _key(
        (300.0, 900.0, 1800.0, 3600.0, 7200.0, 14400.0, 28800.0, 57600.0),
        "Waits between attempts; the last comes again and again until `give_up`.",
    )
    give_up: float = _key(5 * 86400.0, "When a message that could not be delivered goes back to its sender.")
    delay_warning: float = _key(4 * 3600.0, "When its sender is told that a message is late.")
    concurrency: Concurrency = _key(Concurrency(), "How much is delivered at one time.")
    history: float = _key(
        7 * 86400.0, "How long a finished message, its attempts and what was said can still be looked at."
    )
    tls_memory: float = _key(
        0.0,
        "For how long it is remembered that a domain's hosts took mail over STARTTLS. While it is, mail for"
        " the domain leaves encrypted or waits: a host that offers no STARTTLS any more, refuses it, or"
        " breaks the handshake gets nothing in the clear. Stay well below `give_up` (two days, say): mail for"
        " a domain that gave STARTTLS up then leaves late; where this is longer, it is returned. That is also"
        " why it is off by default: whoever means to keep STARTTLS says so by MTA-STS or DANE. 0: off.",
    )
    suppress_after: int = _key(
        3,
        "An address elsewhere that its server refused for good so many times, each no longer than"
        " `suppress_for` after the one before, is suppressed: no more mail is taken for it from accounts."
        " 0: never.",
    )
    suppress_for: float = _key(30 * 86400.0, "For how long an address is suppressed after the last refusal.")
    capture: str | None = _key(
        None, "Nothing leaves: every outgoing message lands in this account's mailbox. For testing software."
    )
    routes: Mapping[str, str] = _made(
        dict, 'Where a domain\'s mail goes, "HOST:PORT" or "lmtp:HOST:PORT"; asked before MX.'
    )
    dane: bool = _key(
        True, "Keep to the TLSA records of mail hosts (DANE, RFC 7672), where `dns.trust_ad` is set."
    )
    mta_sts: bool = _key(True, "Keep to what domains say of their hosts' TLS by MTA-STS (RFC 8461).")
    rules: tuple[DeliveryRule, ...] = _key(
        (),
        "Other ways, by recipient, sender and attempt; asked before the routes, the first that fits holds.",
    )


@dataclass(frozen=True, slots=True)
class DNS:
    servers: tuple[str, ...] = _key(
        (),
        'Resolvers to ask, "ADDRESS", "ADDRESS:PORT" or "[ADDRESS]:PORT"; none: those of /etc/resolv.conf.',
    )
    trust_ad: bool = _key(
        False, "Believe the resolver when it says that an answer was validated: it must be on this machine."
    )
    forward: Mapping[str, tuple[str, ...]] = _made(
        dict,
        "Names at and below a domain are asked of this server, in the notation of `servers`, or of these, a "
        "list.",
    )
    zones: tuple[str, ...] = _key(
        (),
        "Zones to answer for with authority on `listen.dns`. What mail needs is in them: see "
        "`mailftp dns zone`.",
    )
    zone_files: Mapping[str, Path] = _made(
        dict,
        "Records of your own for a zone: a zone file, whose RRsets take the place of ours of the same name "
        "and type.",
    )
    nameservers: tuple[str, ...] = _key(
        (), "The names in the NS records, the first being this server; none: `hostname`."
    )
    addresses: tuple[str, ...] = _key(
        (),
        "The addresses of `hostname` that the world sees; none: those that the listeners are bound to. Give "
        "the public ones behind NAT.",
    )
    secondaries: tuple[str, ...] = _key(
        (),
        "Servers that may transfer the zones (AXFR) and are told of changes (NOTIFY), in the notation of "
        "`servers`.",
    )
    certificate_authorities: tuple[str, ...] = _key(
        (), 'Who may issue certificates for the domains (CAA), ["letsencrypt.org"]; none: anybody.'
    )
    rate_limit: int = _key(
        200,
        "Answers a second by UDP to one network (/24 of IPv4, /56 of IPv6); what is more is sent to TCP or "
        "dropped. 0: no limit.",
    )


@dataclass(frozen=True, slots=True)
class HTTP:
    prefix: str = _key("/", "Where the pages stand behind another web server.")
    hosts: tuple[str, ...] = _key(
        (),
        "Names that the server is asked by, beside `hostname`, `domains` and the mta-sts, autoconfig and "
        "autodiscover below them. Requests for others are refused.",
    )
    forwarded: str = _key(
        "x-forwarded",
        'The headers by which `proxy.trusted` say who asks: "x-forwarded" (X-Forwarded-For, -Proto and '
        '-Host) or "forwarded" (RFC 7239). The other kind is ignored: a proxy passes on what the client '
        "made up.",
    )
    session_idle: float = _key(
        14 * 86400.0, "A browser that is signed in and does not come for so long is signed out."
    )
    session_lifetime: float = _key(
        90 * 86400.0, "So long after it was signed in a browser is signed out, however often it came."
    )
    monitoring: tuple[Network, ...] = _key(
        (ip_network("127.0.0.0/8"), ip_network("::1")),
        "Networks that may ask for /metrics (in the format of Prometheus) and /health. Behind a proxy it is "
        "the client's address that counts.",
    )


_WHOSE = (
    'Whom it is for: addresses, "*@example.test" for a domain, "*" for every account, names of `ftp.groups`, '
    '"anonymous". An empty list: every account.'
)


@dataclass(frozen=True, slots=True)
class FTPRule:
    accounts: tuple[str, ...] = _key((), _WHOSE)
    folder: str = _key("/", "The folder that it holds for, with everything below it.")
    allow: tuple[str, ...] | None = _key(
        None,
        "What may be done there, in place of what the rules before it say: list, read, write (new files), "
        "overwrite, append, delete, rename, make (folders), change (times, permission bits), link.",
    )
    deny: tuple[str, ...] = _key((), "What may not be done there; the words of `allow`.")
    hidden: tuple[str, ...] = _key(
        (), 'Patterns of names that nobody sees or reaches there, such as ".*". Case does not count.'
    )
    forbidden: tuple[str, ...] = _key(
        (), 'Patterns of names that nothing may be given there, such as "*.exe". Case does not count.'
    )


@dataclass(frozen=True, slots=True)
class FTPAccounts:
    accounts: tuple[str, ...] = _key((), _WHOSE)
    tls: str = _key("optional", '"required": neither a login nor a data connection of theirs without TLS.')
    umask: int | None = _key(None, "The umask of their files and folders, in place of `ftp.umask`.")
    names: int | None = _key(None, "Files, folders and links that one of them may have.")
    daily_upload: int | None = _key(None, "Octets that each of them may upload in a day (UTC).")
    daily_download: int | None = _key(None, "Octets that each of them may download in a day (UTC).")
    ratio: float | None = _key(None, "Octets that each of them may download for each that it has uploaded.")
    credit: int = _key(0, "Octets that may be downloaded before the ratio counts.")


@dataclass(frozen=True, slots=True)
class FTPFolder:
    name: str = field(metadata={"doc": "The folder's name in the root of each home."})
    folder: Path = field(metadata={"doc": "Where it is on the disk."})
    accounts: tuple[str, ...] = _key((), _WHOSE)
    quota: int | None = _key(None, "What its files may take, all accounts together.")
    names: int | None = _key(None, "Files, folders and links that it may have.")


@dataclass(frozen=True, slots=True)
class FTPLimit:
    accounts: tuple[str, ...] = _key((), _WHOSE)
    networks: tuple[Network, ...] = _key((), "Where they come from; an empty list: from anywhere.")
    per: str = _key(
        "account",
        'What is counted together: "account", "network" (an address, or a /64 of IPv6), "connection", or '
        '"limit": all that it is for.',
    )
    download: int | None = _key(None, "Octets a second.")
    upload: int | None = _key(None, "Octets a second.")
    connections: int | None = _key(None, "Logins at one time.")
    transfers: int | None = _key(None, "Transfers at one time.")


@dataclass(frozen=True, slots=True)
class FTPPassive:
    networks: tuple[Network, ...] = field(metadata={"doc": "Where the clients come from."})
    address: str = field(
        metadata={"doc": 'What PASV tells them, as `ftp.passive_address`; "": the connection\'s own address.'}
    )


@dataclass(frozen=True, slots=True)
class FTPFXP:
    networks: tuple[Network, ...] = field(
        metadata={"doc": "The other servers that data connections may go to and come from."}
    )
    accounts: tuple[str, ...] = _key((), _WHOSE)


@dataclass(frozen=True, slots=True)
class FTP:
    passive_ports: tuple[int, int] | None = _key(
        (30000, 30999), 'Ports for passive data connections, "FIRST-LAST", both included; "" for any.'
    )
    passive_address: str = _key(
        "",
        "The IPv4 address to give in PASV behind NAT, or a host's name, which is looked up again every "
        "minute; empty: the connection's own.",
    )
    root: Path = _key(
        Path("files"), "The folder of the home folders, `<root>/<domain>/<local part>`; below `data`."
    )
    durable: bool = _key(True, "226 means that the octets are on disk.")
    tls: str = _key("optional", '"required": no login and no data connection without TLS.')
    anonymous: Path | None = _key(None, 'A folder to serve read-only to the login "anonymous"; empty: none.')
    visible_partials: bool = _key(
        False, "Uploads are seen under their own name while they arrive, as other servers do."
    )
    tls_reuse: str = _key(
        "optional",
        '"required": a data connection in TLS must resume the session of its own control connection, so that '
        "nobody else's can take its place. Clients that cannot are refused.",
    )
    clear_command_channel: bool = _key(
        False, "CCC may end the encryption of the control connection after the login, for old firewalls."
    )
    always_150: bool = _key(
        False, "Transfers begin with 150 even where the client is connected, for cameras that give up at 125."
    )
    compression: bool = _key(
        False,
        "Offer MODE Z. lftp then compresses every transfer, which helps on slow lines and costs time on "
        "fast ones.",
    )
    transfer_log: Path | None = _key(
        None, "A file that gets a line for each transfer and deletion; it may be moved away at any time."
    )
    transfer_log_format: str = _key(
        "xferlog", '"xferlog", as wu-ftpd wrote it, or "json": one object a line.'
    )
    umask: int = _key(0o077, "Permission bits that new files and folders do not have, in octal digits.")
    groups: Mapping[str, tuple[str, ...]] = _made(
        dict, 'Names for several accounts, each a list such as ["bob@example.test"].'
    )
    rules: tuple[FTPRule, ...] = _key((), "What may be done where; where several hold, a later one wins.")
    accounts: tuple[FTPAccounts, ...] = _key((), "What differs for some accounts; a later one wins.")
    folders: tuple[FTPFolder, ...] = _key((), "Folders that several accounts have in their root.")
    limits: tuple[FTPLimit, ...] = _key((), "How much, how fast; each of those that fit holds.")
    passive: tuple[FTPPassive, ...] = _key(
        (), "What PASV tells clients from some networks; the first that fits."
    )
    proxy_data: tuple[Network, ...] = _key(
        (),
        "Networks whose data connections begin with a PROXY header, which has to name the client of the "
        "control connection. A proxy that passes them on without one needs nothing here.",
    )
    fxp: tuple[FTPFXP, ...] = _key(
        (), "Whose data may move between this server and another one; without a table, nobody's."
    )


@dataclass(frozen=True, slots=True)
class POP3:
    expire_after_retrieval: float | None = _key(
        None,
        "How long after it was first fetched a message is removed that a client left here. CAPA tells the "
        "whole days as EXPIRE.",
    )
    login_delay: float = _key(
        0.0, "The least time between two logins to one account; sooner is `-ERR [LOGIN-DELAY]`. 0: none."
    )


@dataclass(frozen=True, slots=True)
class Addresses:
    separator: str = _key(
        "+",
        "What parts an account's name from a detail of the sender's choice, one character: bob+shop@ is bob, "
        "unless an account has the whole name. Empty: nothing does.",
    )


@dataclass(frozen=True, slots=True)
class OriginSettings:
    """Each of the four checks: "off", "mark" (the result stands in the message) or "enforce"."""

    spf: str = _key(
        "mark",
        'SPF: may this client send for the domain of the sender. "enforce" refuses what the domain\'s owner '
        "disowns; mail that somebody forwards fails by that too.",
    )
    dkim: str = _key(
        "mark",
        'DKIM: are the signatures good. "enforce" refuses a message that is signed and has no good one; '
        "mailing lists break signatures.",
    )
    dmarc: str = _key(
        "enforce",
        'DMARC: does SPF or DKIM vouch for the author. "enforce" does what the author\'s domain asks for: '
        '"reject" refuses, "quarantine" files in Junk.',
    )
    iprev: str = _key(
        "mark", 'Does the name of the client\'s address lead back to it. "enforce" refuses where it does not.'
    )
    trusted: tuple[Network, ...] = _key(
        (ip_network("127.0.0.1"), ip_network("::1")),
        "Networks whose mail is checked for signatures alone and never refused for what is found, and that "
        "are no strangers: this machine, a server of ours that takes mail first.",
    )
    seconds: float = _key(20.0, "The time that each check of a message has for its questions.")
    lookups: int = _key(150, "Questions to the DNS that one message may cost.")


@dataclass(frozen=True, slots=True)
class StrangerSettings:
    connections_per_minute: int = _key(
        300,
        "Connections for mail from one address (one /64 of IPv6); the networks around it may open 3 times "
        "(/24, /56) and 9 times (/16, /48) as many. 0: no limit.",
    )
    commands_per_minute: int = _key(
        6000,
        "EHLO, MAIL, RCPT and VRFY from one address, and from the networks around it as for connections. "
        "0: no limit.",
    )
    greeting_delay: float = _key(
        1.0,
        "How long a client on `smtp` waits for its greeting that was not here for a day. Who speaks before "
        "it is sent away: junk is sent by programs that do not listen.",
    )
    unknown_recipient_delay: float = _key(
        1.0,
        "How long the refusal of an unknown recipient is held back; the second of a connection twice as "
        "long, up to ten times.",
    )
    data_rate: int = _key(
        100, "Octets a second, over two minutes, that a message must come with. 0: no limit."
    )
    dnsbl: tuple[str, ...] = _key(
        (),
        'DNS blocklists, ["zen.spamhaus.org"] for one: whom they list may send to nobody but the postmaster.',
    )
    greylist: float = _key(
        0.0,
        "How long a client waits before it may send from a sender to a recipient for the first time; it is "
        'told to come again. "5m" is usual. 0: no grey list.',
    )


@dataclass(frozen=True, slots=True)
class Submission:
    daily_messages: int = _key(
        1000,
        "Messages to other domains that an account may send in a day (UTC); its own setting wins. 0: no "
        "limit.",
    )
    daily_new_recipients: int = _key(
        200,
        "Addresses elsewhere that an account may write to in a day for the first time; its own setting wins. "
        "A stolen password sends to strangers. 0: no limit.",
    )
    expand: bool = _key(False, "Tell accounts, by EXPN, who is behind an alias or on a list.")
    authors: str = _key(
        "mark",
        "What becomes of a message whose From has a name of this server's domains that its sender may not "
        'use: "mark" adds a Sender field that says who sent it, "enforce" refuses it, "off" lets it be.',
    )


@dataclass(frozen=True, slots=True)
class Log:
    level: str = _key("info", "The least that is written: debug, info, warn, error or critical.")
    format: str = _key("text", '"text", or "json": one event a line.')


@dataclass(frozen=True, slots=True)
class Settings:
    #: The folder that the file is in; relative paths start here. No key of the file.
    folder: Path
    data: Path = field(metadata={"doc": "The store, files, keys and certificates live here."})
    hostname: str = _key("mx.example.test", "What the servers greet with.")
    domains: tuple[str, ...] = _key(("example.test",), "The domains that mail is accepted for.")
    workers: int = _key(
        1, "Processes that share the listeners; 0 is one per core. This release runs one process."
    )
    #: Service -> Twisted server endpoint strings ("udp:..." and "udp6:..." are our own notation, for dns).
    listen: Mapping[str, tuple[str, ...]] = _made(
        dict, "Where each service listens: Twisted server endpoint strings. A service without a line is off."
    )
    tls: TLS | None = _key(None, "The certificate of every service.")
    proxy: Proxy = _key(Proxy(), "Load balancers in front of this server.")
    auth: Auth = _key(Auth(), "Logging in.")
    limits: Limits = _made(Limits, "Every limit has a number, and reaching it gets a clear reply.")
    store: StoreSettings = _key(StoreSettings(), "Where mail, accounts and the queue are kept.")
    quota: Quota = _key(Quota(), "What one account may take.")
    delivery: Delivery = _made(Delivery, "Mail that leaves.")
    dns: DNS = _made(DNS, "Whom to ask, and what to answer.")
    http: HTTP = _key(HTTP(), "The web.")
    ftp: FTP = _key(FTP(), "File transfer.")
    pop3: POP3 = _key(POP3(), "Fetching mail.")
    addresses: Addresses = _key(Addresses(), "How the addresses of a domain are read.")
    origin: OriginSettings = _key(
        OriginSettings(), "Where mail comes from: what is checked of a stranger's message."
    )
    strangers: StrangerSettings = _key(
        StrangerSettings(),
        "What clients meet that bring mail and have not logged in. Nothing of it is for those that "
        "`origin.trusted` names.",
    )
    submission: Submission = _key(Submission(), "Mail that accounts send.")
    log: Log = _key(Log(), "What is written, and how.")
