"""Who is there, and how well the connection is protected: USER to PROT."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from mailftp.accounts.login import LoginRefused, LoginThrottled, LoginUnavailable
from mailftp.files.home import IHome
from mailftp.ftp.session import Answer, Argument, Command, Crowded, Phase, Session
from mailftp.ftp.syntax import octets, parse_number, reply

_ANONYMOUS = frozenset({"anonymous", "ftp"})


def user(session: Session, argument: str) -> Answer:
    """USER: RFC 959 section 4.1.1. After a login it begins another one, as the RFC says it may. Whoever has
    shown a certificate of that account in the handshake needs no password: RFC 4217 section 10.1."""
    name = argument.strip()
    session.outside.log_out()
    session.outside.data.abandon()
    session.forget()
    session.anonymous = session.terms.anonymous and name.lower() in _ANONYMOUS
    session.user = octets(name)
    known = b"anonymous" if session.anonymous else _full(session)
    session.tls_required = session.terms.tls_required or session.terms.tls_required_for(known)
    if session.tls_required and not session.outside.secure:
        return reply(530, "Say AUTH TLS first")
    if not session.anonymous and not session.outside.password_allowed():
        # Said now: a client that hears 331 sends the password, and then it has been in the clear.
        return reply(530, "No passwords without encryption: say AUTH TLS first")
    if not session.anonymous and session.outside.certified(_full(session)):
        return _enter(session, session.outside.log_in_certified(_full(session)), 232)
    session.phase = Phase.NAMED
    return reply(331, "Your e-mail address, please" if session.anonymous else "Password, please")


def password(session: Session, argument: str) -> Answer:
    """PASS: RFC 959 section 4.1.1."""
    if session.phase is not Phase.NAMED:
        return reply(503, "Say USER first")
    session.phase = Phase.GREETED
    attempt = session.outside.log_in(_full(session), octets(argument), session.anonymous)
    return _enter(session, attempt, 230)


async def _enter(session: Session, attempt: Deferred[IHome], code: int) -> bytes:
    try:
        home = await attempt
    except LoginRefused:
        session.failures += 1
        if session.failures >= session.terms.failures_closed:
            session.close(reply(530, "Login incorrect") + reply(421, "Too many failed logins"))
        return reply(530, "Login incorrect")
    except LoginThrottled as throttled:
        session.close(reply(421, f"Too many failed logins, try again in {throttled.seconds:.0f} seconds"))
        return b""
    except Crowded:
        session.close(reply(421, "Too many connections at one time, try again later"))
        return b""
    except LoginUnavailable:
        session.close(reply(421, "Nobody can log in just now, try again later"))
        return b""
    session.enter(home)
    return reply(code, "Logged in")


def _full(session: Session) -> bytes:
    """The name, with the domain that HOST chose where it has none itself."""
    if session.domain and not session.anonymous and b"@" not in session.user:
        return session.user + b"@" + octets(session.domain)
    return session.user


def host(session: Session, argument: str) -> bytes:
    """HOST: RFC 7151 section 3: whose accounts log in, and whose certificate AUTH shows. Before USER only.

    Whoever named a host in the TLS handshake has been shown that one's certificate, and says no password to
    another domain's accounts behind it.
    """
    if session.phase is not Phase.GREETED:
        return reply(503, "Say HOST before USER")
    name = argument.strip().lower().removesuffix(".")
    domain = session.terms.domain_of(name)
    if domain is None:
        return reply(504, "No such host here")
    shaken = session.outside.server_name
    if shaken not in ("", name) and session.terms.domain_of(shaken) != domain:
        return reply(504, "That is not the host of the TLS handshake")
    session.host, session.domain = name, domain
    return reply(220, "Host accepted")


def mount(session: Session, argument: str) -> bytes:
    """SMNT: RFC 959 section 4.1.1. All that there is to mount is mounted."""
    return reply(202, "Nothing to mount")


def account(session: Session, argument: str) -> bytes:
    """ACCT: RFC 959 section 4.1.1. A login has no further account here."""
    return reply(202, "No account needed")


def quit_(session: Session, argument: str) -> bytes:
    """QUIT: RFC 959 section 4.1.1. A transfer under way is finished first."""
    if session.transfer is not None:
        session.quitting = True
    else:
        session.close(reply(221, "Goodbye"))
    return b""


def reinitialize(session: Session, argument: str) -> bytes:
    """REIN: RFC 959 section 4.1.1. TLS stays (RFC 4217 section 11 would allow to end it)."""
    session.outside.log_out()
    session.outside.data.abandon()
    session.forget()
    # RFC 7151 section 3.2.
    session.host = session.domain = ""
    return reply(220, "Ready for a new user")


def auth(session: Session, argument: str) -> bytes:
    """AUTH: RFC 2228 section 3, RFC 4217 section 4."""
    mechanism = argument.strip().upper()
    if mechanism not in ("TLS", "TLS-C", "SSL", "TLS-P"):
        return reply(504, "Only AUTH TLS")
    if not session.terms.tls_offered:
        return reply(431, "No certificate here")
    if session.outside.secure:
        return reply(503, "Encrypted already")
    # A name or a login that was sent in the clear may have been put there by somebody else.
    session.outside.log_out()
    session.outside.data.abandon()
    session.forget()
    # RFC 4217 section 12.2: these two mean private data connections from the start.
    session.protect_data = session.buffer_size_said = mechanism in ("SSL", "TLS-P")
    session.outside.send(reply(234, "Begin TLS"))
    session.wait()
    session.outside.start_tls(session.host)
    return b""


def clear_command_channel(session: Session, argument: str) -> bytes:
    """CCC: RFC 2228 section 3, RFC 4217 section 12.3: the login was encrypted, and what follows is not, so
    that firewalls can read it. Data connections stay as they are."""
    if not session.outside.secure:
        return reply(533, "Nothing is encrypted")
    if not session.terms.clear_command_channel or session.tls_required or not session.outside.may_end_tls:
        return reply(534, "The control connection stays encrypted here")
    session.outside.send(reply(200, "End TLS"))
    session.wait()
    session.outside.end_tls()
    return b""


def protection_buffer_size(session: Session, argument: str) -> bytes:
    """PBSZ: RFC 2228 section 3, RFC 4217 section 8: nothing but 0 makes sense with TLS."""
    if not session.outside.secure:
        return reply(503, "Say AUTH TLS first")
    parse_number(argument.strip(), 2**32 - 1)
    session.buffer_size_said = True
    return reply(200, "PBSZ=0")


def protection(session: Session, argument: str) -> bytes:
    """PROT: RFC 2228 section 3, RFC 4217 section 9."""
    level = argument.strip().upper()
    if not session.outside.secure or not session.buffer_size_said:
        return reply(503, "Say AUTH TLS and PBSZ 0 first")
    if level == "C" and session.tls_required:
        return reply(534, "Data connections are encrypted here")
    if level not in ("C", "P"):
        return reply(536 if level in ("S", "E") else 504, "Only PROT C and PROT P")
    session.outside.data.abandon()
    session.protect_data = level == "P"
    return reply(200, "Data connections are " + ("encrypted" if level == "P" else "in the clear"))


COMMANDS = (
    Command("USER", user, Argument.MUST, Phase.GREETED, usage="USER name"),
    Command("PASS", password, Argument.MAY, Phase.GREETED, usage="PASS password"),
    Command("ACCT", account, Argument.MUST, usage="ACCT account"),
    Command("SMNT", mount, Argument.MUST, usage="SMNT path"),
    Command("HOST", host, Argument.MUST, Phase.GREETED, usage="HOST name"),
    Command("QUIT", quit_, phase=Phase.GREETED, meanwhile=True, usage="QUIT"),
    Command("REIN", reinitialize, phase=Phase.GREETED, usage="REIN"),
    Command("AUTH", auth, Argument.MUST, Phase.GREETED, usage="AUTH TLS"),
    Command("PBSZ", protection_buffer_size, Argument.MUST, Phase.GREETED, usage="PBSZ 0"),
    Command("CCC", clear_command_channel, usage="CCC"),
    Command("PROT", protection, Argument.MUST, Phase.GREETED, usage="PROT (C|P)"),
)
