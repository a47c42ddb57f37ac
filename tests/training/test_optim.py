import itertools

import pytest
import timm
import torch

from msgformer.config.training_options import OptimOptions
from msgformer.errors import UserError
from msgformer.training.build import build_model
from msgformer.training.optim import Rates, build_optimizer, build_schedule, step_schedule

EXACT = Rates(peak=1.0, first=0.1, last=0.01)


@pytest.fixture(scope="module")
def model():
    return timm.create_model("test_vit")


def rates_of(options, epochs, steps_per_epoch):
    """Return the learning rate of every step (or epoch), and after the last one."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=EXACT.peak)
    schedule = build_schedule(optimizer, options, EXACT, epochs, steps_per_epoch)
    rates = [optimizer.param_groups[0]["lr"]]
    total = epochs + options.cooldown_epochs
    for count in range(1, 1 + total * (1 if options.step_on == "epoch" else steps_per_epoch)):
        step_schedule(schedule, epoch=count, step=count)
        rates.append(optimizer.param_groups[0]["lr"])
    return rates


def test_rates_scale_with_the_batch_size_if_lr_batch_is_given():
    options = OptimOptions(lr=1e-3, warmup_lr=1e-6, min_lr=1e-5, lr_batch=1024)
    assert Rates.of(options, 512) == Rates(5e-4, 5e-7, 5e-6)
    assert Rates.of(OptimOptions(lr=1e-3, lr_batch=None), 512).peak == 1e-3


def test_cosine_schedule_with_warmup():
    rates = rates_of(OptimOptions(warmup_epochs=2), epochs=10, steps_per_epoch=5)
    assert rates[0] == pytest.approx(EXACT.first)
    assert rates[5] == pytest.approx((EXACT.first + EXACT.peak) / 2)
    assert rates[25] == pytest.approx((EXACT.peak + EXACT.last) / 2)  # the cosine includes the warm-up
    assert rates[50] == pytest.approx(EXACT.last)
    assert all(later < earlier for earlier, later in itertools.pairwise(rates[11:]))


def test_constant_schedule():
    assert set(rates_of(OptimOptions(schedule="constant", warmup_epochs=0), 3, 4)) == {EXACT.peak}


def test_steps_by_epoch_with_cooldown():
    rates = rates_of(OptimOptions(warmup_epochs=2, step_on="epoch", cooldown_epochs=3), 4, steps_per_epoch=7)
    assert len(rates) == 8
    assert rates[1] == pytest.approx((EXACT.first + EXACT.peak) / 2)
    assert rates[4:] == pytest.approx([EXACT.last] * 4)


def test_warmup_longer_than_the_training_is_refused():
    with pytest.raises(UserError, match=r"optim\.warmup_epochs is 20, but there are only 5 epochs"):
        rates_of(OptimOptions(warmup_epochs=20), 5, 1)


def test_weight_decay_only_applies_to_matrices_that_the_model_does_not_exempt(model):
    optimizer = build_optimizer(model, OptimOptions(weight_decay=0.3), Rates(1e-3, 1e-6, 1e-5))
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    exempt = model.no_weight_decay()
    assert exempt & dict(model.named_parameters()).keys()
    for name, parameter in model.named_parameters():
        assert decay[id(parameter)] == (0.0 if parameter.ndim < 2 or name in exempt else 0.3), name


def test_betas_eps_and_momentum_reach_the_optimizer(model):
    options = OptimOptions(betas=(0.8, 0.9), eps=1e-6)
    optimizer = build_optimizer(model, options, Rates(1e-3, 1e-6, 1e-5))
    assert isinstance(optimizer, torch.optim.AdamW)
    assert (optimizer.defaults["betas"], optimizer.defaults["eps"]) == ((0.8, 0.9), 1e-6)
    sgd = build_optimizer(model, OptimOptions(optimizer="sgd", momentum=0.7), Rates(1e-3, 1e-6, 1e-5))
    assert sgd.defaults["momentum"] == 0.7


def test_layer_decay_reduces_the_rate_of_lower_layers(model):
    optimizer = build_optimizer(model, OptimOptions(layer_decay=0.5), Rates(1.0, 0.1, 0.01))
    scale = {id(p): group["lr_scale"] for group in optimizer.param_groups for p in group["params"]}
    assert scale[id(model.head.weight)] == 1.0
    assert scale[id(model.patch_embed.proj.weight)] < scale[id(model.blocks[0].mlp.fc1.weight)] < 1.0


@pytest.mark.parametrize("name", ["msg_transformer_tiny", "sgformer_small"])
def test_layer_decay_orders_the_rates_of_this_packages_models_from_stem_to_head(name):
    with torch.device("meta"):
        model = build_model(name, 10, (224, 224), {})
    options = OptimOptions(layer_decay=0.5, warmup_epochs=2, lr_batch=None)
    optimizer = build_optimizer(model, options, EXACT)
    step_schedule(build_schedule(optimizer, options, EXACT, epochs=4, steps_per_epoch=5), epoch=2, step=10)
    rate = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    rates = {name: rate[id(parameter)] for name, parameter in model.named_parameters()}
    halfway = (EXACT.peak + EXACT.last) / 2
    assert [rate[id(parameter)] for parameter in model.get_classifier().parameters()] == pytest.approx([halfway] * 2)
    blocks = [rates[name] for name in rates if name.startswith("stages.") and name.endswith("mlp.fc1.weight")]
    assert len(set(blocks)) == len(blocks)
    assert blocks == sorted(blocks)
    stem = {rates[name] for name in rates if name.startswith("patch_embed")}
    assert len(stem) == 1
    assert stem.pop() <= blocks[0] / 2 < halfway * 0.5 ** len(blocks)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (OptimOptions(optimizer="adamv"), "unknown optimizer 'adamv'; did you mean 'adam"),
        (OptimOptions(optimizer="sgd", betas=(0.9, 0.9)), r"optim\.betas: sgd has no such option"),
        (OptimOptions(momentum=0.8), r"optim\.momentum: adamw has none"),
        (OptimOptions(optimizer_args={"ns_steps": 3}), r"adamw rejects its options: .*'ns_steps'"),
        (
            OptimOptions(optimizer_args={"lr": 1.0}),
            r"optim\.optimizer_args\.lr is an option of its own",
        ),
        (OptimOptions(betas=(1.5, 0.9)), "adamw rejects its options"),
    ],
)
def test_invalid_options_are_refused(model, options, message):
    with pytest.raises(UserError, match=message):
        build_optimizer(model, options, Rates(1e-3, 1e-6, 1e-5))


@pytest.mark.parametrize("step_on", ["step", "epoch"])
def test_multistep_schedule_reduces_the_rate_after_each_milestone(step_on):
    options = OptimOptions(
        schedule="multistep", milestones=(2, 3), decay_rate=0.1, warmup_epochs=0, lr_batch=None, step_on=step_on
    )
    rates = rates_of(options, epochs=4, steps_per_epoch=5)
    each = 1 if step_on == "epoch" else 5
    assert [rate / EXACT.peak for rate in rates[: 4 * each]] == pytest.approx(
        [factor for factor in (1, 1, 0.1, 0.01) for _ in range(each)]
    )


def test_linear_schedule_with_warmup_of_a_fraction_of_an_epoch():
    options = OptimOptions(schedule="poly", power=1.0, warmup_epochs=0.4, lr_batch=None)
    rates = rates_of(options, epochs=4, steps_per_epoch=10)
    assert rates[0] == pytest.approx(EXACT.first)
    assert rates[:4] == sorted(rates[:4])
    line = [EXACT.last + (EXACT.peak - EXACT.last) * (1 - step / 40) for step in range(40)]
    assert rates[4:] == pytest.approx([*line[4:], EXACT.last])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (OptimOptions(schedule="multistep", warmup_epochs=0), "needs epochs in ascending order"),
        (OptimOptions(schedule="multistep", milestones=(9, 3), warmup_epochs=0), "needs epochs in ascending order"),
        (OptimOptions(schedule="cosine", milestones=(3,), warmup_epochs=0), "is for multistep, not cosine"),
    ],
)
def test_milestones_that_do_not_fit_the_schedule_are_refused(options, message):
    with pytest.raises(UserError, match=f"optim.milestones {message}"):
        rates_of(options, 5, 1)


def test_optimizer_args_reach_the_optimizer(model):
    options = OptimOptions(optimizer="muon", optimizer_args={"ns_steps": 3, "nesterov": True})
    groups = build_optimizer(model, options, EXACT).param_groups
    assert {(group["ns_steps"], group["nesterov"]) for group in groups} == {(3, True)}


@pytest.mark.parametrize(("chosen", "fused"), [({}, True), ({"fused": False}, False), ({"foreach": True}, None)])
def test_step_on_the_cpu_is_fused_unless_the_user_chose(model, chosen, fused):
    optimizer = build_optimizer(model, OptimOptions(optimizer_args=chosen), EXACT)
    assert {group["fused"] for group in optimizer.param_groups} == {fused}


@pytest.mark.parametrize("name", ["adamw", "sgd", "lamb"])  # the last has no fused form
def test_fused_step_equals_the_unfused_step(name):
    after = []
    for fused in (True, False):
        torch.manual_seed(0)
        layer = torch.nn.Linear(8, 8)
        optimizer = build_optimizer(layer, OptimOptions(optimizer=name), EXACT)
        for group in optimizer.param_groups:
            if not fused and "fused" in group:
                group["fused"] = None
        for _ in range(3):
            layer(torch.ones(2, 8)).square().sum().backward()
            optimizer.step()
            optimizer.zero_grad()
        after.append([parameter.detach() for parameter in layer.parameters()])
    torch.testing.assert_close(*after)
