"""SPF against the cases of the openspf project, which are in pyspf's source package, and our own limits."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import yaml
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from mailftp.origin.spf import TERMS, Asking, Question, TemporaryFault, Verdict, check_host

#: Where .ci/run puts the file, which is in pyspf's source package and not in its wheel.
CASES = Path(sys.prefix, "share", "pyspf", "rfc7208-tests.yml")
#: Far above what the limits of RFC 7208 allow: a machine that asks on and on fails its test.
ENOUGH = 200


class Zone:
    """What the cases call zonedata. A record of type SPF stands for TXT where a name has no TXT."""

    def __init__(self, data: dict[str, list[Any]]) -> None:
        self.names = {name.lower().removesuffix("."): entries for name, entries in data.items()}
        self.asked: list[Question] = []

    def records(self, name: str, kind: str, depth: int = 0) -> Iterator[Any]:
        entries = self.names.get(name.lower().removesuffix("."))
        if entries is None:
            if name.startswith("error."):
                raise TemporaryFault("timeout")
            return
        maps = [entry for entry in entries if isinstance(entry, dict)]
        has_text = any("TXT" in entry for entry in maps)
        wanted = {"SPF" if kind == "TXT" and not has_text else kind}
        found = [value for entry in maps for key, value in entry.items() if key in wanted and value != "NONE"]
        if "TIMEOUT" in found or ("TIMEOUT" in entries and not found):
            raise TemporaryFault("timeout")
        yield from found
        for entry in maps:
            if "CNAME" in entry and depth < 8:
                yield from self.records(entry["CNAME"], kind, depth + 1)

    def answer(self, question: Question) -> tuple[str, ...]:
        self.asked.append(question)
        found = list(self.records(question.name, question.kind))
        if question.kind == "MX":
            return tuple(host for _, host in sorted(found))
        if question.kind == "TXT":
            # The file's characters stand for their UTF-8 octets.
            texts = ["".join(value) if isinstance(value, list) else value for value in found]
            return tuple(text.encode().decode("latin-1") for text in texts)
        return tuple(found)


def ask(check: Asking[Verdict], zone: Zone) -> Verdict:
    try:
        question = next(check)
        for _ in range(ENOUGH):
            try:
                records = zone.answer(question)
            except TemporaryFault as fault:
                question = check.throw(fault)
            else:
                question = check.send(records)
    except StopIteration as end:
        verdict = end.value
        assert isinstance(verdict, Verdict)
        return verdict
    raise AssertionError(f"more than {ENOUGH} questions")


def judge(data: dict[str, list[Any]], sender: str = "a@e.test", address: str = "192.0.2.1") -> Verdict:
    return ask(check_host(ip_address(address), sender, "helo.test"), Zone(data))


class OpenSPFTests(SynchronousTestCase):
    def test_every_case(self) -> None:
        """Result, and explanation where the case has one, of each of the cases."""
        if not CASES.exists():
            raise SkipTest(f"needs {CASES.name} of pyspf's source package in {CASES.parent}")
        wrong, count = [], 0
        for scenario in yaml.safe_load_all(CASES.read_text(encoding="utf-8")):
            for name, case in scenario["tests"].items():
                count += 1
                verdict = ask(
                    check_host(
                        ip_address(case["host"]), case["mailfrom"] or "", case["helo"], "receiver.test"
                    ),
                    Zone(scenario["zonedata"]),
                )
                wanted = case["result"] if isinstance(case["result"], list) else [case["result"]]
                said = case.get("explanation")
                if verdict.result not in wanted or (
                    said is not None and (verdict.explanation or "DEFAULT") != said
                ):
                    wrong.append((name, case.get("spec"), wanted, said, verdict))
        self.assertEqual(wrong, [])
        self.assertGreater(count, 150)


class LimitTests(SynchronousTestCase):
    def test_include_of_itself(self) -> None:
        zone = Zone({"e.test": [{"TXT": "v=spf1 include:e.test -all"}]})
        verdict = ask(check_host(ip_address("192.0.2.1"), "a@e.test", "h.test"), zone)
        self.assertEqual(verdict.result, "permerror")
        self.assertEqual(len(zone.asked), TERMS + 1)

    def test_terms_that_find_nothing(self) -> None:
        two = {"e.test": [{"TXT": "v=spf1 a:x.test a:y.test ip4:192.0.2.1 -all"}]}
        three = {"e.test": [{"TXT": "v=spf1 a:x.test a:y.test a:z.test ip4:192.0.2.1 -all"}]}
        self.assertEqual(judge(two).result, "pass")
        self.assertEqual(judge(three).result, "permerror")

    def test_mail_hosts_without_aaaa_are_usual(self) -> None:
        hosts = [{"MX": [n, f"mx{n}.e.test"]} for n in range(4)]
        data: dict[str, list[Any]] = {"e.test": [{"TXT": "v=spf1 mx ip6:2001:db8::/32 -all"}, *hosts]}
        self.assertEqual(judge(data, address="2001:db8::1").result, "pass")

    def test_mapped_address_is_its_ipv4_address(self) -> None:
        data = {"e.test": [{"TXT": "v=spf1 ip4:192.0.2.1 -all"}]}
        self.assertEqual(judge(data, address="::ffff:192.0.2.1").result, "pass")

    def test_explanation_cannot_break_a_reply(self) -> None:
        """What the local part of a stranger's address brings along is not put in a reply."""
        data = {
            "e.test": [{"TXT": "v=spf1 exp=why.e.test -all"}],
            "why.e.test": [{"TXT": "no %{s}"}],
        }
        self.assertEqual(judge(data).explanation, "no a@e.test")
        self.assertEqual(judge(data, '"a\r\n250 "@e.test').explanation, "")
        self.assertEqual(judge(data, "\xe4@e.test").explanation, "")
        self.assertLessEqual(len(judge(data, "a" * 5000 + "@e.test").explanation), 400)

    def test_large_records(self) -> None:
        """What a stranger's record makes of a long address stays small, and takes linear time."""
        macros = "%{s}" * 128
        zone = Zone({"e.test": [{"TXT": f"v=spf1 exists:{macros} -all"}]})
        verdict = ask(check_host(ip_address("192.0.2.1"), "a." * 20_000 + "b@e.test", "h.test"), zone)
        self.assertEqual(verdict.result, "fail")
        self.assertLessEqual(max(len(question.name) for question in zone.asked), 253)
        for text in ("exists:%{s}" + macros, " ip4:192.0.2.1" * 700):
            self.assertEqual(judge({"e.test": [{"TXT": "v=spf1 " + text}]}).result, "permerror", text[:20])

    def test_syntax_before_evaluation(self) -> None:
        for terms in (
            "+all bogus",
            "+all ip4:1.2.3",
            "+all a:%{x}.test",
            "+all redirect=a.test redirect=b.test",
        ):
            self.assertEqual(judge({"e.test": [{"TXT": f"v=spf1 {terms}"}]}).result, "permerror", terms)
