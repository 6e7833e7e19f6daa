"""How messages enter an inbox. Read next: `_turn_locks.py`."""

from __future__ import annotations

from trioflow.abc import Draft, OutMessage, Parent, State
from trioflow.errors import InstanceFinished, InstanceNotFound, MailboxFull
from trioflow.testing._store_contract._marks import Part, belongs_to
from trioflow.testing._store_contract._subject import Subject, draft, expect, expect_equal, expect_raises, kinds


async def check_messages_keep_their_order(s: Subject) -> None:
    """Messages come out in the order in which they were posted, with growing numbers and their times."""
    await s.waiting()
    for number in range(5):
        await s.post("a", f"N{number}")
        s.advance(1)
    messages = (await s.turn()).messages
    expect_equal(kinds(messages), [f"N{number}" for number in range(5)], "the order of an inbox")
    seqs = [message.seq for message in messages]
    expect(seqs == sorted(seqs) and len(dict.fromkeys(seqs)) == 5, "seq grows")
    expect_equal([message.at for message in messages], [s.clock.now - 5 + n for n in range(5)], "when they entered")


async def check_message_content_is_untouched(s: Subject) -> None:
    """Data and payload come out byte for byte, also where they are empty, absent, or no text."""
    await s.waiting()
    drafts = [Draft("A", b"", None), Draft("B", b"\x00\xff", b""), Draft("C", b"{}", bytes(range(256)) * 300)]
    for one in drafts:
        await s.post("a", draft=one)
    expect_equal([message.draft for message in (await s.turn()).messages], drafts, "the content of messages")


async def check_unknown_instance_is_refused(s: Subject) -> None:
    """A message for an instance that is not there is refused."""
    with expect_raises(InstanceNotFound, "the instance is not there"):
        await s.post("nobody")


@belongs_to(Part.REFUSALS)
async def check_ended_instance_is_refused(s: Subject) -> None:
    """A message for an instance that has ended is refused."""
    await s.ended()
    with expect_raises(InstanceFinished, "the instance has ended"):
        await s.post("a")


@belongs_to(Part.EXECUTIONS)
async def check_message_for_another_execution_is_dropped(s: Subject) -> None:
    """A message for an execution that is not current is dropped without an error."""
    await s.waiting()
    await s.post("a", execution=2)
    await s.nothing_eligible("the only message was for another execution")
    await s.post("a", execution=1)
    expect_equal(len((await s.turn()).messages), 1, "a message for the current execution")


@belongs_to(Part.MAILBOXES)
async def check_full_mailbox_is_refused(s: Subject) -> None:
    """Unread and queued events together are limited; what is refused leaves no trace."""
    await s.waiting("a", unread=2)
    await s.post("a", mailbox=True, mailbox_limit=4)
    await s.post("a", mailbox=True, mailbox_limit=4)
    with expect_raises(MailboxFull, "the mailbox holds four events"):
        await s.post("a", mailbox=True, mailbox_limit=4)
    expect_equal((await s.record()).queued, 2, "messages in the inbox")


@belongs_to(Part.MAILBOXES)
async def check_other_messages_do_not_fill_the_mailbox(s: Subject) -> None:
    """Only events count against the mailbox, and a full one does not keep other messages out."""
    await s.waiting()
    await s.post("a")
    await s.post("a", mailbox=True, mailbox_limit=1)
    await s.post("a", "Cancel", mailbox_limit=1)
    expect_equal((await s.record()).queued, 3, "messages in the inbox")


@belongs_to(Part.MAILBOXES)
async def check_a_mailbox_is_limited_in_bytes(s: Subject) -> None:
    """Payloads of unread and queued events are limited together; what is refused leaves no trace, and others enter."""
    await s.waiting("a", unread=1, unread_bytes=4)
    expect_equal((await s.record()).unread_bytes, 4, "bytes of unread events")
    large = draft(payload=b"12345678901")
    await s.post("a", draft=large)
    await s.post("a", draft=draft(payload=b"123"), mailbox=True, mailbox_bytes=10)
    await s.post("a", draft=draft(data=b"12345678901"), mailbox=True, mailbox_bytes=7)
    with expect_raises(MailboxFull, "the mailbox holds seven bytes"):
        await s.post("a", draft=draft(payload=b"1234"), mailbox=True, mailbox_bytes=10)
    await s.post("a", draft=draft(payload=b"123"), mailbox=True, mailbox_bytes=10)
    await s.post("a", draft=large, mailbox_bytes=10)
    expect_equal((await s.record()).queued, 5, "messages in the inbox")


@belongs_to(Part.MAILBOXES)
async def check_bytes_of_a_mailbox_make_room(s: Subject) -> None:
    """There is room for as many bytes as were consumed and taken, whether that was all or a part."""
    await s.waiting("a", unread=1, unread_bytes=2)
    for _ in range(2):
        await s.post("a", draft=draft(payload=b"1234"), mailbox=True, mailbox_bytes=10)
    turn = await s.turn()
    await s.commit(turn, consumed=(turn.messages[0].seq,), unread_bytes=2)
    with expect_raises(MailboxFull, "the mailbox holds six bytes"):
        await s.post("a", draft=draft(payload=b"12345"), mailbox=True, mailbox_bytes=10)
    await s.post("a", draft=draft(payload=b"1234"), mailbox=True, mailbox_bytes=10)
    await s.run()
    await s.post("a", draft=draft(payload=b"1234567890"), mailbox=True, mailbox_bytes=10)


@belongs_to(Part.MAILBOXES)
async def check_mailbox_empties(s: Subject) -> None:
    """Events that were consumed make room again."""
    await s.waiting()
    await s.post("a", mailbox=True, mailbox_limit=1)
    await s.run()
    await s.post("a", mailbox=True, mailbox_limit=1)
    with expect_raises(MailboxFull, "the mailbox holds one event"):
        await s.post("a", mailbox=True, mailbox_limit=1)


async def check_a_message_makes_eligible(s: Subject) -> None:
    """An instance without messages is left alone; a message makes it eligible."""
    await s.waiting()
    await s.nothing_eligible("nothing happened")
    await s.post("a")
    await s.turn()


@belongs_to(Part.CHILDREN)
async def check_messages_out_of_a_turn(s: Subject) -> None:
    """Messages of a turn reach other inboxes in order; those nobody can take are dropped and block nothing."""
    await s.ended("gone")
    await s.waiting("b")
    await s.start("a")
    out = (
        OutMessage(instance="nobody", draft=draft("Lost")),
        OutMessage(instance="b", draft=draft("One")),
        OutMessage(instance="gone", draft=draft("Lost")),
        OutMessage(instance="b", execution=9, draft=draft("Lost")),
        OutMessage(instance="b", execution=1, draft=draft("Two")),
    )
    await s.run("a", messages=out)
    expect_equal(kinds((await s.turn("b")).messages), ["One", "Two"], "what reached the other inbox")


@belongs_to(Part.CHILDREN)
async def check_a_turn_may_write_to_itself(s: Subject) -> None:
    """A message of a turn to its own instance waits for the next turn."""
    await s.waiting("a", messages=(OutMessage(instance="a", draft=draft("Self")),))
    expect_equal(kinds((await s.turn()).messages), ["Self"], "the own inbox")


async def check_ending_empties_the_inbox(s: Subject) -> None:
    """An instance that ends keeps no messages, not even those that came meanwhile."""
    await s.start()
    turn = await s.turn()
    await s.post("a", "Late")
    await s.commit(turn, "Ended", state=State.FAILED)
    expect_equal((await s.record()).queued, 0, "messages of an instance that has ended")
    s.advance(1000)
    await s.nothing_eligible("it has ended")


async def check_messages_of_one_moment_keep_their_order(s: Subject) -> None:
    """Messages that enter at the same moment come out in the order in which they entered."""
    await s.waiting()
    names = ["C", "A", "B", "A"]
    for kind in names:
        await s.post("a", kind)
    expect_equal(kinds((await s.turn()).messages), names, "the inbox")


async def check_numbers_of_messages_are_not_used_again(s: Subject) -> None:
    """A message has a higher `seq` than all before it, also where those have been consumed."""
    await s.waiting()
    seqs: list[int] = []
    for _ in range(3):
        await s.post("a")
        turn = await s.turn()
        seqs += [message.seq for message in turn.messages]
        await s.commit(turn)
    expect_equal(seqs, sorted(dict.fromkeys(seqs)), "numbers in the order of entering")
    expect_equal(len(seqs), 3, "messages")


@belongs_to(Part.MAILBOXES)
async def check_unread_events_that_were_taken_make_room(s: Subject) -> None:
    """The mailbox has room again once the code has taken what was unread."""
    await s.waiting("a", unread=2)
    await s.mailbox_is_full("a", 2)
    await s.post("a")
    await s.run("a", unread=1)
    await s.post("a", mailbox=True, mailbox_limit=2)
    await s.mailbox_is_full("a", 2)


@belongs_to(Part.MAILBOXES)
async def check_a_turn_may_overfill_a_mailbox(s: Subject) -> None:
    """An event out of a turn is never refused, and counts against the mailbox."""
    await s.waiting("b")
    await s.start("a")
    await s.run("a", messages=(OutMessage(instance="b", draft=draft(), mailbox=True),) * 3)
    expect_equal((await s.record("b")).queued, 3, "messages in the inbox")
    await s.mailbox_is_full("b", 3)


@belongs_to(Part.MAILBOXES)
async def check_a_mailbox_limit_is_the_senders(s: Subject) -> None:
    """Each post brings its own limit: a higher one finds room where a lower one did not."""
    await s.waiting()
    await s.post("a", mailbox=True, mailbox_limit=1)
    await s.mailbox_is_full("a", 1)
    await s.post("a", mailbox=True, mailbox_limit=2)
    expect_equal((await s.record()).queued, 2, "messages in the inbox")


@belongs_to(Part.MAILBOXES)
async def check_part_of_a_mailbox_makes_room(s: Subject) -> None:
    """Consuming some of the events makes room for as many."""
    await s.waiting()
    for _ in range(3):
        await s.post("a", mailbox=True, mailbox_limit=3)
    turn = await s.turn()
    await s.commit(turn, consumed=tuple(message.seq for message in turn.messages[:2]))
    for _ in range(2):
        await s.post("a", mailbox=True, mailbox_limit=3)
    await s.mailbox_is_full("a", 3)


@belongs_to(Part.CHILDREN)
async def check_a_post_may_name_a_child(s: Subject) -> None:
    """A client's message for the child of one parent is dropped, without an error, where the id is somebody else's."""
    mine = Parent(instance="p", execution=1, event_id=1)
    await s.start("a", parent=mine)
    await s.run("a")
    await s.waiting("stranger")
    for name in ("a", "stranger"):
        await s.post(name, child_of=mine)
        await s.post(name, child_of=Parent(instance="p", execution=1, event_id=2))
    expect_equal(len((await s.turn("a")).messages), 1, "messages of the child")


@belongs_to(Part.CHILDREN)
async def check_an_ending_turn_writes_nothing_to_itself(s: Subject) -> None:
    """A message of a turn to its own instance is dropped where the turn ends it."""
    await s.start()
    await s.run("a", "Ended", state=State.COMPLETED, messages=(OutMessage(instance="a", draft=draft()),))
    expect_equal((await s.record()).queued, 0, "messages in the inbox")


@belongs_to(Part.CHILDREN)
async def check_messages_of_a_turn_are_untouched(s: Subject) -> None:
    """What a turn sends arrives byte for byte, with the time at which it entered."""
    one = Draft("Odd", bytes(range(256)), b"\xff\x00")
    await s.waiting("b")
    await s.start("a")
    turn = await s.turn("a")
    s.advance(5)
    await s.commit(turn, messages=(OutMessage(instance="b", draft=one),))
    (message,) = (await s.turn("b")).messages
    expect_equal((message.draft, message.at), (one, s.clock.now), "the message")


@belongs_to(Part.CHILDREN)
async def check_a_control_message_out_of_a_turn_counts(s: Subject) -> None:
    """A turn may send a control message, which makes a held instance eligible."""
    await s.waiting("b", state=State.SUSPENDED)
    await s.start("a")
    await s.run("a", messages=(OutMessage(instance="b", draft=draft("Cancel"), control=True),))
    expect_equal(kinds((await s.turn("b")).messages), ["Cancel"], "the inbox")
