"""The judge of the failover rehearsal: what counts as acknowledged, as a stop, and as two leaders."""

from __future__ import annotations

from tests.rehearsal.acknowledged import Ack, Told, read_records

ONE, TWO = "10.21.0.11", "10.21.0.12"


def told(*acks: tuple[str, float, str], until: float = 0.0) -> Told:
    found = [
        Ack(writer, number, at - 0.01, at, server, warned=False) for number, (writer, at, server) in enumerate(acks)
    ]
    return Told(acks=found, until=until or max(ack.at for ack in found))


def test_records_of_several_writers_are_told_apart() -> None:
    found = Told()
    text = f"==> record-1 <==\nack 1 10.0 10.1 {ONE} 0\nunknown 2 10.2 11.7 no answer in time\n"
    text += f"\n==> record-2 <==\nack 1 12.0 12.1 {TWO} 1\nack 2 12.2"
    read_records(found, "standby", text)
    assert found.acks == [Ack("standby/1", 1, 10.0, 10.1, ONE, False), Ack("standby/2", 1, 12.0, 12.1, TWO, True)]
    assert found.unknown == {"standby": 1}
    assert found.reasons == {"no answer in time": 1}


def test_a_stop_is_the_longest_time_between_two_answers() -> None:
    found = told(("standby/1", 1.0, ONE), ("standby/1", 2.0, ONE), ("standby/2", 9.5, TWO), ("standby/2", 9.6, TWO))
    assert found.stopped("standby") == 7.5
    assert found.stopped("standby", since=1.5) == 7.5  # from the last answer before it
    assert found.stopped("standby", since=9.5) == 9.6 - 9.5


def test_a_stop_that_did_not_end_counts_too() -> None:
    assert told(("standby/1", 1.0, ONE), until=31.0).stopped("standby", since=1.0) == 30.0


def test_the_writers_of_another_machine_do_not_fill_a_gap() -> None:
    assert told(("a/1", 1.0, ONE), ("b/1", 5.0, ONE), ("a/1", 8.0, ONE)).stopped("a") == 7.0


def test_two_leaders_show_as_a_server_that_comes_back() -> None:
    assert told(("a/1", 1.0, ONE), ("b/1", 2.0, TWO), ("a/1", 3.0, TWO)).reigns() == [ONE, TWO]
    assert told(("a/1", 1.0, ONE), ("b/1", 2.0, TWO), ("a/1", 3.0, ONE)).reigns() == [ONE, TWO, ONE]
