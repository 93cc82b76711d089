"""The root with every page that this release has."""

from __future__ import annotations

from mailftp.settings import Settings
from mailftp.web.autoconfig import Autoconfig
from mailftp.web.autodiscover import Autodiscover, AutodiscoverWhere
from mailftp.web.mail_services import mail_services
from mailftp.web.mobileconfig import Mobileconfig
from mailftp.web.mta_sts import PolicyPage
from mailftp.web.root import Root


def make_root(settings: Settings) -> Root:
    """For one reading of the settings."""
    root = Root(settings)
    services = mail_services(settings)
    root.at("/.well-known/mta-sts.txt", PolicyPage(settings.hostname, root.hosts))
    configured = Autoconfig(root.hosts, services)
    root.at("/mail/config-v1.1.xml", configured)
    root.at("/.well-known/autoconfig/mail/config-v1.1.xml", configured)
    discovered, where = Autodiscover(root.hosts, services), AutodiscoverWhere()
    # Outlook's versions do not agree on the case of the path.
    for name in ("autodiscover", "Autodiscover", "AutoDiscover"):
        for file in ("autodiscover", "Autodiscover", "AutoDiscover"):
            root.at(f"/{name}/{file}.xml", discovered)
        root.at(f"/{name}/{name}.json", where)
    root.at("/profile.mobileconfig", Mobileconfig(root.hosts, services))
    return root
