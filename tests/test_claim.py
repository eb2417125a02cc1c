"""Who may train: all orders in which three workers can write and read."""

import pytest

from ecm_edge.search.claim import Contender, decide, may_ask

POINTS = [("a", "a", "a"), ("a", "a", "b"), ("a", "b", "a"), ("b", "a", "a"), ("a", "b", "c")]


def step(state, number, points, places):
    """The state after one operation of a trial: a write, or a look at the others; None if it has ended.

    A state holds what is stored of each trial (its phase), and what each is about to do.
    """
    phases, plans = list(state[0]), list(state[1])
    plan = plans[number]
    if plan in {"train", "end"}:
        return None
    if plan in {"drawn", "back", "claimed"}:
        phases[number] = plan
        plans[number] = {"drawn": "look", "back": "ask", "claimed": "train"}[plan]
        return tuple(phases), tuple(plans)
    others = [Contender(n, phases[n], points[n]) for n in range(len(points)) if n != number and phases[n] != "end"]
    if plan == "ask":
        plans[number] = "drawn" if may_ask(others, places=places) else "ask"
    else:
        decision = decide(Contender(number, "drawn", points[number]), others, is_taken=False, places=places)
        plans[number] = {"claim": "claimed", "back": "back", "wait": "look"}.get(decision, "end")
        if plans[number] == "end":
            phases[number] = "end"
    return tuple(phases), tuple(plans)


def every_state(points, places):
    """All states that can be reached, each with those that come next."""
    first = ((None,) * len(points), ("drawn",) * len(points))
    found, left = {}, [first]
    while left:
        state = left.pop()
        if state in found:
            continue
        found[state] = [after for n in range(len(points)) if (after := step(state, n, points, places))]
        left += found[state]
    return found


@pytest.mark.parametrize("points", POINTS)
@pytest.mark.parametrize("places", [1, 2, 3])
def test_no_point_is_trained_twice_and_no_more_than_there_are_places(points, places):
    for phases, _ in every_state(points, places):
        claimed = [point for point, phase in zip(points, phases, strict=True) if phase == "claimed"]
        assert len(set(claimed)) == len(claimed) <= places


@pytest.mark.parametrize("points", POINTS)
@pytest.mark.parametrize("places", [1, 2, 3])
def test_from_every_state_as_many_train_as_can(points, places):
    states = every_state(points, places)
    wanted = min(places, len(set(points)))
    done = {state for state in states if state[0].count("claimed") == wanted}
    reaching, grown = set(), set(done)
    while grown != reaching:
        reaching = grown
        grown = reaching | {state for state, after in states.items() if reaching & set(after)}
    assert reaching == set(states)


def test_without_a_place_a_trial_is_surplus_and_a_taken_point_is_avoided():
    mine = Contender(3, "drawn", "a")
    assert decide(mine, [], is_taken=False, places=0) == "surplus"
    assert decide(mine, [], is_taken=True, places=0) == "avoid"
    assert decide(mine, [Contender(4, "claimed", "b")], is_taken=False, places=1) == "back"
