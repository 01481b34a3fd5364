"""Policy by observation: what is proposed, what a review may say, and that its rules allow that and nothing else."""

from __future__ import annotations

import tomllib
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from egress_watch.model import address_text, address_words
from egress_watch.rules import check, linked, parts, schema
from egress_watch.rules.policy import ENOUGH, Need, needs, opens
from egress_watch.rules.policy_file import DESTINATIONS, Review, read, written
from egress_watch.rules.policy_rules import rule_files, slug
from egress_watch.store import holds
from egress_watch.store.policy import Sighting

OBSERVED = {"from": "2026-11-02T08:00:00Z", "until": "2026-11-16T08:00:00Z", "days": 14, "flows": 9}
SEEN = Sighting("cams", "44:19:b6:0b:6e:11", "", "192.0.2.1", "tcp", 443, "Amazon", "Hikvision", "name", "IE", "OWN", 1,
                2, 300, 10**18, 10**18 + 5)  # fmt: skip


def proposed(*changes: dict[str, Any], by_device: bool = False) -> list[Need]:
    """Return what is proposed for sightings that differ from the plain one."""
    found, left_out = needs([SEEN._replace(**change) for change in changes], by_device=by_device)
    assert left_out == 0
    return found


def reviewed(found: list[Need], answer: str = "allow") -> Review:
    """Return a file with these proposals, all answered alike."""
    text = "\n".join(written(found, OBSERVED)).replace('by = ""', 'by = "A. Reviewer"')
    text = text.replace('\non = ""', '\non = "2026-11-24"').replace('reason = ""', 'reason = "as agreed"')
    review = read(text.replace('review = ""', f'review = "{answer}"'))
    assert (review.mistakes, list(review.open_points())) == ([], [])
    return review


def drifts(review: Review, **flow: Any) -> bool:
    """Return whether the rules of a review alert on a flow."""
    for name, text in rule_files(review):
        assert check(text, name) == []
        rules, broken = linked(parts(text, name))
        assert broken == []
        if any(holds(rule.predicate, rule.count, [flow], schema()) for rule in rules):
            return True
    return False


def test_a_name_comes_before_its_addresses() -> None:
    """However many addresses it had, the name alone is proposed; the addresses are its evidence."""
    (need,) = proposed(*({"name": "ieu.hik-connect.com", "remote_ip": f"192.0.2.{n}"} for n in range(9)))
    assert (need.what, len(need.addresses), need.flows) == (("name", "ieu.hik-connect.com"), 9, 18)


def test_a_domain_is_proposed_where_it_is_one_groups_own() -> None:
    """Three names below a listed group's domain on another's network; not below a cloud's, where anybody rents."""
    three = [{"name": f"{word}.hik-connect.com"} for word in "abc"]
    assert [need.what for need in proposed(*three)] == [("name", "*.hik-connect.com")]
    assert len(proposed(*three[:2])) == ENOUGH - 1
    cloud = [{"name": f"{word}.blob.core.windows.net", "owner": "Microsoft", "provider": "Microsoft"} for word in "abc"]
    assert len(proposed(*cloud)) == 3
    by_address = [{**one, "evidence": "cloud"} for one in three]
    assert len(proposed(*by_address)) == 3


@pytest.mark.parametrize("parent", ["com", "co.uk", "com.cn"])
def test_what_a_country_gives_out_names_below_is_never_proposed(parent: str) -> None:
    """Three names below it share nothing but the registry."""
    assert len(proposed(*({"name": f"{word}.{parent}"} for word in "abc"))) == 3


def test_without_a_name_it_is_the_address_and_a_network_of_three() -> None:
    """At most 256 addresses of IPv4, or a /64; an AS is never proposed, however often it was seen."""
    bare = {"owner": "", "evidence": ""}
    assert [need.what for need in proposed({"remote_ip": "192.0.2.7", **bare})] == [("network", "192.0.2.7")]
    near = [{"remote_ip": f"192.0.2.{n}", **bare} for n in (1, 77, 250)]
    assert [need.what for need in proposed(*near)] == [("network", "192.0.2.0/24")]
    far = [{"remote_ip": f"198.18.{n}.1", **bare} for n in range(200)]
    assert {ip_network(need.what[1]).prefixlen for need in proposed(*far)} == {32}
    six = [{"remote_ip": f"2001:db8::{n}", **bare} for n in (1, 2, 3)]
    assert [need.what for need in proposed(*six)] == [("network", "2001:db8::/64")]
    assert (opens(("network", "192.0.2.0/24")), opens(("network", "2001:db8::/64"))) == (
        "256 addresses",
        "2^64 addresses",
    )


def test_many_ports_become_any_and_ports_of_ours_are_told_apart() -> None:
    """Nine ports of one protocol are any; a device that serves has `own` before its port."""
    (need,) = proposed(*({"port": 1000 + n} for n in range(9)), {"protocol": "icmp", "port": 0})
    assert need.services == {"tcp", "icmp"}
    (need,) = proposed({"port": -443}, {"port": 8443})
    assert need.services == {"own tcp/443", "tcp/8443"}


@pytest.mark.parametrize(
    "name", ["a b.example", "x'; DROP TABLE flow", "*.example.org", "\x1b[2J.example", "a" * 300, "é.nl"]
)
def test_a_name_that_is_no_host_name_is_not_proposed(name: str) -> None:
    """What came over the wire goes into no rule unless it is plain; then its address speaks."""
    assert [need.what for need in proposed({"name": name})] == [("network", "192.0.2.1")]


def test_the_gravest_needs_of_a_subject_come_first_and_devices_stand_for_themselves() -> None:
    """OUT, UNKNOWN, OWN, IN; without a segment, or where it is asked for, a need is the device's."""
    verdicts = ("IN", "OWN", "UNKNOWN", "OUT")
    found = proposed(*({"name": f"{word}.example.org", "verdict": word} for word in verdicts))
    assert [need.verdict for need in found] == list(reversed(verdicts))
    assert {need.subject for need in found} == {("segment", "cams")}
    assert proposed({}, by_device=True)[0].subject == proposed({"segment": ""})[0].subject == ("device", SEEN.device)


WORDS = st.text(max_size=40)
STORED = st.ip_addresses().map(lambda address: address_text(*address_words(str(address))))
"""Addresses as the store writes them: IPv4 mapped into IPv6 is IPv4."""


@given(WORDS, WORDS, WORDS, STORED, st.integers(-65535, 65535))
def test_any_sighting_is_written_read_back_and_allowed_by_its_rule(
    segment: str, name: str, owner: str, address: str, port: int
) -> None:
    """Whatever was on the wire or in the inventory; a segment no file can hold is told as a mistake."""
    seen = SEEN._replace(segment=segment, name=name, owner=owner, remote_ip=address, port=port)
    (need,), _ = needs([seen])
    text = "\n".join(written([need], OBSERVED))
    assert tomllib.loads(text)["need"][0][need.what[0]] == need.what[1]
    review = read(text)
    assert len(review.answers) + bool(review.mistakes) == 1
    assert review.answers or segment
    if review.answers:
        flow = {"segment": segment or None, "device_mac": seen.device, "name": name.lower() or None,
                "remote_ip": str(ip_address(address)), "protocol": "tcp"}  # fmt: skip
        ports = {"device_port": -port, "remote_port": 50000} if port < 0 else {"remote_port": port}
        assert not drifts(reviewed([need]), **flow, **ports)


def test_what_was_allowed_is_quiet_and_everything_else_drifts() -> None:
    """Another name, another port, another protocol; another segment and what stays local are no matter."""
    review = reviewed(proposed({"name": "ieu.hik-connect.com"}))
    known = {"segment": "cams", "name": "ieu.hik-connect.com", "protocol": "tcp", "remote_port": 443}
    assert not drifts(review, **known)
    for change in ({"name": "x.example"}, {"remote_port": 444}, {"protocol": "udp"}, {"name": None}):
        assert drifts(review, **{**known, **change})
    assert not drifts(review, **{**known, "segment": "lamps", "name": "x.example"})
    assert not drifts(review, **{**known, "name": "x.example", "location_status": "local"})


def test_what_was_refused_drifts() -> None:
    """A need that was seen and refused is an alert from now on."""
    review = reviewed(proposed({"name": "ieu.hik-connect.com"}), "refuse")
    assert drifts(review, segment="cams", name="ieu.hik-connect.com", protocol="tcp", remote_port=443)


def test_a_domain_holds_for_names_below_it_only() -> None:
    """Not for the domain itself, and not for one that merely ends so."""
    review = reviewed(proposed(*({"name": f"{word}.hik-connect.com"} for word in "abc")))
    flow = {"segment": "cams", "protocol": "tcp", "remote_port": 443}
    assert not drifts(review, **flow, name="new.hik-connect.com")
    assert drifts(review, **flow, name="hik-connect.com")
    assert drifts(review, **flow, name="evilhik-connect.com")


def test_more_needs_than_one_filter_holds_are_all_allowed() -> None:
    """Two hundred and fifty names become three filter documents of one rule."""
    found = proposed(*({"name": f"h{n}.example{n}.org"} for n in range(250)))
    review = reviewed(found)
    ((_, text),) = rule_files(review)
    assert text.count("\nfilter:") == 3
    flow = {"segment": "cams", "protocol": "tcp", "remote_port": 443}
    assert not any(drifts(review, **flow, name=f"h{n}.example{n}.org") for n in (0, 99, 100, 249))
    assert drifts(review, **flow, name="h250.example250.org")


def test_a_reviewer_may_widen_and_narrow_by_hand() -> None:
    """Any of the destinations, all of which must hold; what is wide wants a reason."""
    head = '[review]\nby = "A"\non = "2026-11-24"\n'
    wide = f'{head}[[need]]\nsegment = "cams"\nowner = "Hikvision"\ncountry = "IE"\nreview = "allow"\n'
    assert [what for what, _ in read(wide).open_points()] == [
        "need 1 (segment cams: owner Hikvision, country IE) opens more than one name or address"
    ]
    review = read(f'{wide}reason = "contract 7"\n')
    assert list(review.open_points()) == []
    assert not drifts(review, segment="cams", owner="Hikvision", country="IE", remote_port=1)
    assert drifts(review, segment="cams", owner="Hikvision", country="SG", remote_port=1)
    numbered = read(f'{head}[[need]]\nsegment = "cams"\nasn = 1136\nreview = "allow"\nreason = "x"\n')
    assert not drifts(numbered, segment="cams", asn=1136)


@pytest.mark.parametrize(
    ("need", "wrong"),
    [
        ('name = "a.example"', "nobody, or for two"),
        ('segment = "a"\ndevice = "10.0.0.1"\nname = "a.example"', "nobody, or for two"),
        ('segment = "a"', "leads nowhere"),
        ('segment = "a"\nnetwork = "0.0.0.0/0"', "cannot be"),
        ('segment = "a"\nnetwork = "10.0.0.1/8"', "cannot be"),
        ('segment = "a"\nname = "*"', "cannot be"),
        ('segment = "a"\nname = "*.*"', "cannot be"),
        ('segment = "a"\nname = "*.nl"', "cannot be"),
        ('segment = "a"\nname = "a.*.nl"', "cannot be"),
        ('segment = "a"\ncountry = "nl"', "cannot be"),
        ('segment = "a"\nasn = "AS1136"', "cannot be"),
        ('segment = "a"\nasn = true', "cannot be"),
        ('segment = "a"\nname = "a.example"\nservices = ["https"]\nservice = "x"', "unknown key"),
        ('segment = "a"\nname = "a.example"\nservices = ["tcp/0"]', "services"),
        ('segment = "a"\nname = "a.example"\nservices = "tcp/443"', "services"),
        ('segment = "a"\nname = "a.example"\nreview = "yes"', "no answer"),
        ('segment = "a"\nname = "a.example"\nreason = "a\\u001b[2J"', "no plain text"),
        ('segment = " "\nname = "a.example"', "cannot be"),
        ('device = "camera"\nname = "a.example"', "cannot be"),
    ],
)
def test_a_mistake_in_a_review_is_told(need: str, wrong: str) -> None:
    """Each is told with its need, and nothing of such a need is taken."""
    review = read(f"[[need]]\n{need}\n")
    assert any(wrong in what for what, _ in review.mistakes), review.mistakes
    assert all(remedy for _, remedy in review.mistakes)
    assert review.answers == []


@given(st.text(max_size=60) | st.sampled_from(["need = 3", "[need]", "[[review]]", "[x]", "[[need]]\nsegment = 3"]))
def test_no_text_makes_the_reading_raise(text: str) -> None:
    """It is a review or it has mistakes; none of these can be promoted."""
    review = read(text)
    assert review.mistakes or list(review.open_points())


def test_subjects_keep_their_ids_and_never_share_a_file() -> None:
    """A second review of a segment is the same rule; names that look alike on disk are told apart."""
    found = proposed({}, {"segment": "Cams"}, {"segment": "cams "}, {"segment": "cams/../x"}, {"segment": "käme"})
    names = [name for name, _ in rule_files(reviewed(found))]
    assert len(set(names)) == len(found) == 5
    assert all("/" not in name and name.isascii() for name in names)
    assert slug(("segment", "cams")) == "segment-cams"
    first, second = (next(iter(rule_files(reviewed(proposed(*some)))))[1] for some in ([{}], [{}, {"port": 1}]))
    assert first.split("\n")[2] == second.split("\n")[2]
    assert first.split("\n")[2].startswith("id: ")


def test_the_head_of_the_file_names_what_it_takes() -> None:
    """Its comment lists every destination there is."""
    head = "\n".join(written([], OBSERVED)).partition("[observed]")[0]
    assert all(word in head for word in DESTINATIONS)
