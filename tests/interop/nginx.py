"""nginx before a server, over TLS on a port of its own."""

from __future__ import annotations

import subprocess
from typing import Any

from tests.interop.running import PATIENCE, RunningServer, program
from tests.ports import free_ports


class Nginx:
    def __init__(self, case: Any, server: RunningServer, locations: str) -> None:
        """`locations` are lines of nginx's; "UPSTREAM" in them is the server's address. `case` ends it."""
        [self.port] = free_ports(1)
        folder = server.folder.parent / f"nginx-{self.port}"
        folder.mkdir()
        config = folder / "nginx.conf"
        config.write_text(
            f"daemon off; master_process off; pid {folder}/pid; error_log {folder}/errors;\n"
            f"events {{}}\nhttp {{ access_log off;\n"
            + "".join(
                f"{name}_temp_path {folder}/{name};\n"
                for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
            )
            + f"server {{ listen 127.0.0.1:{self.port} ssl;\n"
            f"ssl_certificate {server.folder}/tls/cert.pem;\n"
            f"ssl_certificate_key {server.folder}/tls/key.pem;\n"
            "proxy_set_header Host $host;\n"
            "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;\n"
            "proxy_set_header X-Forwarded-Proto $scheme;\n"
            + locations.replace("UPSTREAM", f"http://127.0.0.1:{server.ports['http']}")
            + "} }\n"
        )
        process = subprocess.Popen([program("nginx", "nginx-light"), "-c", config], stderr=subprocess.DEVNULL)
        case.addCleanup(process.wait, PATIENCE)
        case.addCleanup(process.kill)
