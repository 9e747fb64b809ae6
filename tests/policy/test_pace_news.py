"""What news of a host are counted as, where a fault left all other tests of the pace green (`make campaign-mutants`)."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from d4c_images.model import Failure, OwnCode, Status, Verdict
from d4c_images.policy.pace import BlockPolicy, HostPace, News, after_batch, unreached

NOW = 1_700_000_000.0


def failure(error_type: str, code: int, *, unreachable: bool = False) -> Failure:
    return Failure(Verdict(Status.FAILED_TRANSIENT, error_type, "its words", host_trouble=True, unreachable=unreachable), code, 0)


def test_news_begin_with_nothing() -> None:
    assert not [name for name, value in asdict(News()).items() if value]


@pytest.mark.parametrize(
    ("trouble", "kind"),
    [
        (failure("server_error", 503), "http 503"),
        (failure("html_page", 200), "html_page"),
        (failure("timeout", OwnCode.TIMEOUT), "timeout"),
        (failure("unknown", 0), "unknown"),
    ],
)
def test_trouble_is_counted_by_its_code_or_by_our_word_for_it(trouble: Failure, kind: str) -> None:
    news = News()
    for n in (1, 2):
        news.trouble(trouble)
        assert dict(news.troubles) == {kind: n}
    assert news.words == {kind: "its words"}


def test_an_answer_ends_the_count_of_failures_to_reach_a_host() -> None:
    """Else a host would be given up one failure too early the next time."""
    silent = News()
    silent.trouble(failure("connect", OwnCode.CONNECT, unreachable=True))
    once = unreached(HostPace(), silent, NOW)
    assert (once.n_unreachable, once.unreachable_since) == (1, NOW)
    answered = unreached(once, News(n_ok=1), NOW + 1)
    assert (answered.n_unreachable, answered.unreachable_since) == (0, None)
    assert unreached(answered, silent, NOW + 2).n_unreachable == 1


def test_a_host_that_cannot_be_reached_is_left_alone_for_the_first_wait() -> None:
    policy, pace = BlockPolicy(), HostPace()
    for _ in range(policy.least_unreachable):
        news = News()
        news.trouble(failure("connect", OwnCode.CONNECT, unreachable=True))
        pace = after_batch(pace, news, NOW, policy)
    assert pace.blocked_until == NOW + policy.first_block_s
    assert (pace.blocked_why or "").startswith("cannot be reached")
