"""What HELP says (RFC 5321 section 4.1.1.8): of everything, and of each command."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

OVERVIEW = """\
Commands: HELO EHLO MAIL RCPT DATA BDAT RSET NOOP VRFY EXPN HELP QUIT STARTTLS AUTH
A message: HELO name, MAIL FROM:<you>, RCPT TO:<them>, DATA, the text, a line with one dot, QUIT
HELP and a command tells more of it"""

#: Verb -> how it is said, and what it does.
TOPICS: Mapping[str, str] = MappingProxyType(
    {
        "HELO": "HELO name\nSays who you are, without extensions; EHLO says it with them",
        "EHLO": "EHLO name\nSays who you are, a host name or [an address], and lists the extensions",
        "LHLO": "LHLO name\nEHLO as LMTP says it",
        "MAIL": "MAIL FROM:<address> [SIZE=octets] [BODY=8BITMIME|BINARYMIME] [SMTPUTF8] [RET=FULL|HDRS]"
        " [ENVID=id]\n[BY=seconds;N|R] [MT-PRIORITY=-9..9] [HOLDFOR=seconds|HOLDUNTIL=time] [REQUIRETLS]"
        "\nBegins a message; <> is for notices that nobody is to answer",
        "RCPT": "RCPT TO:<address> [NOTIFY=NEVER|SUCCESS,FAILURE,DELAY] [ORCPT=type;address]"
        "\nNames one recipient; say it once for each",
        "DATA": "DATA\nThe message follows; its end is a line with one dot, other lines that begin with a dot"
        " get one more",
        "BDAT": "BDAT octets [LAST]\nThat many octets of the message follow, as they are",
        "RSET": "RSET\nForgets sender, recipients and message",
        "NOOP": "NOOP\nDoes nothing",
        "VRFY": "VRFY address\nWhether an address is here; told to those who logged in",
        "EXPN": "EXPN address\nWhom an alias leads to; told to those who logged in, where that is allowed",
        "HELP": "HELP [command]\nTells of all commands, or of one",
        "QUIT": "QUIT\nEnds the connection",
        "STARTTLS": "STARTTLS\nEncrypts what follows; say EHLO again after it",
        "AUTH": "AUTH mechanism [initial response in base64]\nLogs in; EHLO lists the mechanisms",
    }
)
