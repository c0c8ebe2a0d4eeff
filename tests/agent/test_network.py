"""The network: heads against loops of linear layers, what depends on j, gradients, and acting against unrolling."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from meme57.agent.heads import BatchedHeads, DuelingHeads
from meme57.agent.network import Features, MemeNetwork
from meme57.agent.transforms import signed_hyperbolic


@torch.no_grad()
def test_batched_heads_equal_a_loop_of_linear_layers() -> None:
    torch.manual_seed(0)
    heads = BatchedHeads(7, 5, 4, num_heads=3)
    core = torch.randn(6, 7)
    out = heads(core)
    assert out.shape == (6, 3, 4)
    for j in range(3):
        first = torch.nn.Linear(7, 5)
        first.weight.copy_(heads.hidden.weight[5 * j : 5 * (j + 1)])
        first.bias.copy_(heads.hidden.bias[5 * j : 5 * (j + 1)])
        second = torch.nn.Linear(5, 4)
        second.weight.copy_(heads.weight[j].T)
        second.bias.copy_(heads.bias[j, 0])
        torch.testing.assert_close(out[:, j], second(functional.relu(first(core))))


def test_standardised_heads_equal_a_loop_and_stay_alive() -> None:
    torch.manual_seed(0)
    heads = BatchedHeads(6, 50, 2, num_heads=3, normalise=True)
    core = torch.randn(4, 6)
    found = heads(core)
    for j in range(3):
        rows = slice(50 * j, 50 * (j + 1))
        hidden = core @ heads.hidden.weight[rows].T + heads.hidden.bias[rows]
        mean, std = hidden.mean(-1, keepdim=True), hidden.std(-1, correction=0, keepdim=True)
        hidden = ((hidden - mean) / (std.square() + 1e-5).sqrt()).clamp_min(0.0)
        torch.testing.assert_close(found[:, j], hidden @ heads.weight[j] + heads.bias[j])
    with torch.no_grad():
        heads.hidden.bias.sub_(100.0)  # what switches every unit off of heads that are not standardised
    torch.testing.assert_close(heads(core), found, atol=1e-3, rtol=1e-3)


@torch.no_grad()
def test_dueling_heads_equal_a_loop() -> None:
    torch.manual_seed(0)
    heads = DuelingHeads(7, 5, 4, num_heads=3)
    for parameter in heads.parameters():
        parameter.normal_()
    core = torch.randn(6, 7)
    components = heads(core)
    value, advantage = heads.value(core), heads.advantage(core)
    for z in range(2):
        assert components[z].shape == (6, 3, 4)
        for m in range(6):
            for j in range(3):
                advantages = advantage[m, j, 4 * z : 4 * (z + 1)].tolist()
                expected = [value[m, j, z].item() + a - sum(advantages) / 4 for a in advantages]
                assert components[z][m, j].tolist() == pytest.approx(expected, abs=1e-5)


@torch.no_grad()
def test_fresh_values_are_zero_and_fresh_policies_are_not() -> None:
    heads = DuelingHeads(7, 5, 4, num_heads=3)
    extrinsic, intrinsic = heads(torch.randn(6, 7))
    assert not extrinsic.any()
    assert not intrinsic.any()
    assert BatchedHeads(7, 5, 4, num_heads=3)(torch.randn(6, 7)).abs().min() > 0


@torch.no_grad()
def test_values_are_not_rounded_to_bfloat16() -> None:
    heads = DuelingHeads(7, 5, 4, num_heads=3)
    heads.value.bias.fill_(19.03)  # bfloat16 has 19 and 19.125 there
    with torch.autocast("cpu", torch.bfloat16):
        extrinsic, intrinsic = heads(torch.randn(6, 7))
    for values in (extrinsic, intrinsic):
        torch.testing.assert_close(values, torch.full((6, 3, 4), 19.03))


@pytest.mark.parametrize("torso", ["nfnet", "impala", "nature", "small"])
def test_shapes(make_network, make_inputs, torso: str) -> None:
    network = make_network(torso)
    output = network(*make_inputs(network, 4, 2))
    assert output.q_extrinsic.shape == output.q_intrinsic.shape == output.logits.shape == (4, 2, 3, 5)
    assert output.state.shape == (2, 2, 12)
    assert network.initial_state(2).shape == (2, 2, 12)
    assert not network.initial_state(2).any()


def step_features(features: Features, t: int) -> Features:
    return Features(*(value[t] for value in features))


@pytest.mark.parametrize("torso", ["nfnet", "impala", "small"])
@pytest.mark.parametrize("acts_on_values", [False, True])
@torch.no_grad()
def test_acting_step_by_step_equals_the_unrolled_sequence(
    make_network, make_inputs, torso: str, acts_on_values: bool
) -> None:
    policies, betas = torch.tensor([0, 2, 1, 2]), (0.0, 0.3, 0.7)
    network = make_network(torso, acting_betas=betas if acts_on_values else None)
    frames, features, state = make_inputs(network, 6, 4)
    output = network(frames, features, state)
    q = output.q_extrinsic + torch.tensor(betas)[:, None] * output.q_intrinsic
    for t in range(6):
        preferences, state = network.act(frames[:, t], step_features(features, t), state, policies)
        unrolled = (q if acts_on_values else output.logits)[t, torch.arange(4), policies]
        torch.testing.assert_close(preferences, unrolled, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(state, output.state, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_a_sequence_may_be_cut_where_the_state_is_stored(make_network, make_inputs) -> None:
    network = make_network()
    frames, features, state = make_inputs(network, 6, 2)
    whole = network(frames, features, state)
    first = network(frames[:, :4], Features(*(value[:4] for value in features)), state)
    second = network(frames[:, 4:], Features(*(value[4:] for value in features)), first.state)
    torch.testing.assert_close(torch.cat([first.q_extrinsic, second.q_extrinsic]), whole.q_extrinsic)
    torch.testing.assert_close(second.state, whole.state)


@torch.no_grad()
def test_sequences_of_a_batch_and_later_steps_do_not_matter(make_network, make_inputs) -> None:
    network = make_network()
    frames, features, state = make_inputs(network, 5, 3)
    output = network(frames, features, state)
    alone = network(frames[1:2], Features(*(value[:, 1:2] for value in features)), state[:, 1:2])
    torch.testing.assert_close(alone.logits[:, 0], output.logits[:, 1], rtol=1e-4, atol=1e-5)
    later = frames.clone()
    later[:, 3:] = 255 - later[:, 3:]
    changed = network(later, features, state)
    torch.testing.assert_close(changed.q_extrinsic[:3], output.q_extrinsic[:3], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(changed.q_extrinsic[3:], output.q_extrinsic[3:])


@torch.no_grad()
def test_only_the_heads_know_the_policy(make_network, make_inputs) -> None:
    network = make_network()
    frames, features, state = make_inputs(network, 1, 3)
    core, after = network.core(network.frames(frames.flatten(0, 1)), features, state)
    for policies in (torch.tensor([0, 0, 0]), torch.tensor([2, 1, 0])):
        preferences, next_state = network.act(frames[:, 0], step_features(features, 0), state, policies)
        torch.testing.assert_close(next_state, after)
        torch.testing.assert_close(preferences, network.policies(core[0])[torch.arange(3), policies])
    one, many = make_network(num_policies=1), make_network(num_policies=9)
    for name in ("torso", "features", "lstm"):
        sizes = [[p.shape for p in getattr(n, name).parameters()] for n in (one, many)]
        assert sizes[0] == sizes[1]


def test_policy_heads_leave_torso_and_lstm_alone(make_network, make_inputs) -> None:
    network: MemeNetwork = make_network()
    network(*make_inputs(network, 3, 2)).logits.square().sum().backward()
    with_gradient = {name for name, p in network.named_parameters() if p.grad is not None and p.grad.any()}
    assert with_gradient == {f"policies.{name}" for name, _ in network.policies.named_parameters()}


def test_value_heads_train_torso_features_and_lstm(make_network, make_inputs) -> None:
    network: MemeNetwork = make_network()
    output = network(*make_inputs(network, 3, 2))
    (output.q_extrinsic.square().sum() + output.q_intrinsic.square().sum()).backward()
    for name, parameter in network.named_parameters():
        assert (parameter.grad is None) is name.startswith("policies."), name


@torch.no_grad()
def test_a_balanced_picture_has_the_norm_of_the_other_features(make_network, make_inputs) -> None:
    balanced, plain = make_network(balance_inputs=True), make_network()
    inputs = make_inputs(plain, num_steps=3, batch=2)
    num_visual, num_features = plain.torso.num_features, plain.spec.feature_size
    assert not torch.allclose(balanced(*inputs).state, plain(*inputs).state)
    with torch.no_grad():  # standardised, the picture has the squared norm num_visual
        plain.lstm.weight_ih_l0[:, :num_visual] *= (num_features / num_visual) ** 0.5
    torch.testing.assert_close(balanced(*inputs), plain(*inputs))


def test_every_non_image_input_matters(make_network, make_inputs) -> None:
    network = make_network(feature_size=64)
    frames, features, state = make_inputs(network, 1, 2)
    base = network(frames, features, state).q_extrinsic
    for name in features._fields:
        value = getattr(features, name)
        changed = (value + 1) % 5 if name == "action" else value.roll(1, -1) + (name != "embedding")
        assert not torch.equal(network(frames, features._replace(**{name: changed}), state).q_extrinsic, base), name


@torch.no_grad()
def test_features_by_hand(make_network, make_inputs) -> None:
    network = make_network()
    _, features, _ = make_inputs(network, 1, 1)
    encoder = network.features
    parts = [encoder.action.weight[features.action[0, 0]]]
    parts += [signed_hyperbolic(value[0, 0]).view(1) for value in features[1:5]]  # rewards enter as h(r)
    embedding = features.embedding[0, 0].float()
    parts.append((embedding - embedding.mean()) / (embedding.var(correction=0) + 1e-5).sqrt())
    expected = functional.relu(encoder.linear.weight @ torch.cat(parts) + encoder.linear.bias)
    torch.testing.assert_close(encoder(features)[0, 0], expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_no_previous_action_has_an_embedding_of_its_own(make_network) -> None:
    assert make_network().features.action.num_embeddings == 5 + 1
