"""Print the UIDLs of a POP3 maildrop, for `mailftp account uidl`; the password is read from standard input.

python3 uidls.py old.example.org 995 bob@example.org < password > bob.uidls
"""

import hashlib
import poplib
import sys

host, port, user = sys.argv[1], int(sys.argv[2]), sys.argv[3]
old = poplib.POP3_SSL(host, port) if port == 995 else poplib.POP3(host, port)
old.user(user)
old.pass_(sys.stdin.readline().rstrip("\n"))
for entry in old.uidl()[1]:
    number, uidl = entry.decode("ascii").split(" ", 1)
    lines = old.top(int(number), 0)[1]
    header = lines[: lines.index(b"")] if b"" in lines else lines
    print(f"{uidl} header:" + hashlib.sha256(b"\r\n".join(header)).hexdigest())
old.quit()
