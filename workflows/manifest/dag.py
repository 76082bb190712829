"""The workflow of a run: a RunSpec goes in, a complete hera Workflow comes out. No clock, no cluster."""

import json
from typing import Final

import yaml
from hera.workflows import DAG, Container, Env, Parameter, Task, Workflow
from hera.workflows import models as m

from jobs.contract import environment
from jobs.contract.experiment import Experiment
from jobs.contract.names import EXPERIMENT_LABEL, QUEUE_LABEL, RUN_LABEL, Stage
from jobs.contract.plan import PlannedTask
from jobs.contract.profile import GPU_STAGES
from jobs.contract.stored import layout
from workflows.manifest.notice import add_exit_handler
from workflows.manifest.pods import TemplateKind, pod_security, pod_spec_patch, shared_volumes, template
from workflows.manifest.spec import ORDER_ANNOTATION, Manifest, RunSpec

# Keep autoscalers from moving pods, and everybody from evicting them, where the profile protects its runs.
DO_NOT_MOVE: Final = {
    "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
    "karpenter.sh/do-not-disrupt": "true",
}
POD_DELETE_DELAY: Final = "300s"
NEVER_DISRUPT: Final = m.PodDisruptionBudgetSpec(min_available=m.IntOrString(root=9999))

# Argo's graph folds more children than this into a node that has to be clicked.
SHOWN_CHILDREN: Final = 3

_Dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def build(spec: RunSpec) -> Workflow:
    """Build the workflow of a run, for Argo 3.7 and 4: one task per stage, model and fold.

    The workflow carries its spec in an annotation, and in a variable of prepare, which stores it.
    """
    tasks = spec.tasks
    with _workflow(spec) as workflow:
        kinds = {task.id: TemplateKind(task.id.stage, task.detector, spec.memory_of(task.id)) for task in tasks}
        templates = {kind: _template(kind, spec) for kind in dict.fromkeys(kinds.values())}
        tolerant = spec.experiment.ensemble.min_folds is not None
        labelled = any(task.id.stage is Stage.PREDICT for task in tasks) and not spec.predicts
        # A failed fold fails the run even if the ensemble ran without it: every task is a target of the DAG.
        target = " ".join(task.name for task in tasks) if tolerant else None
        with DAG(name=workflow.entrypoint, fail_fast=False, target=target):
            for task in tasks:
                Task(
                    name=task.name,
                    template=templates[kinds[task.id]],
                    arguments={"model": task.id.model, "fold": str(task.id.fold)} if task.id.model else {},
                    depends=_depends(task, tolerant, labelled),
                )
        if spec.profile.notify:
            add_exit_handler(workflow, spec)
    return workflow


def manifest(spec: RunSpec) -> Manifest:
    """Build the workflow as a dict, without a name: ``render`` prints, ``submit`` sends and ``run`` executes it."""
    plain: Manifest = build(spec).to_dict()
    return plain


def to_yaml(value: Manifest) -> str:
    """Format a value as YAML, with keys in their own order."""
    text: str = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
    return text


def experiment_parameter(experiment: Experiment) -> str:
    """The resolved experiment as JSON, the workflow's only parameter."""
    text = json.dumps(experiment.model_dump(mode="json"), separators=(",", ":"), ensure_ascii=False)
    return _without_placeholders(text)


def _without_placeholders(text: str) -> str:
    """JSON in which no ``{{…}}`` is left for Argo to substitute."""
    return text.replace("{{", "{\\u007b")


def _template(kind: TemplateKind, spec: RunSpec) -> Container:
    made = template(kind, spec.profile, spec.run, spec.revision, spec.test_set.from_run if spec.test_set else None)
    assert isinstance(made.env, list)
    if spec.max_gpu_hours is not None and kind.stage in GPU_STAGES:
        made.env.append(Env(name=environment.MAX_GPU_HOURS, value=f"{spec.max_gpu_hours:g}"))
    if kind.stage is Stage.PREPARE:
        made.env.append(Env(name=environment.ORDER, value=_without_placeholders(spec.kept)))
        if spec.test_set and spec.test_set.overlap == "drop":
            made.env.append(Env(name=environment.OVERLAP, value="drop"))
    return made


def _workflow(spec: RunSpec) -> Workflow:
    profile, experiment = spec.profile, spec.on_its_films
    labels = {**profile.labels, RUN_LABEL: spec.run, EXPERIMENT_LABEL: experiment.name}
    queue = {QUEUE_LABEL: profile.queue} if profile.queue else {}
    protected = profile.disruption == "protect"
    annotations = {**(DO_NOT_MOVE if protected else {}), **profile.annotations}
    return Workflow(
        generate_name=f"{spec.run}-",
        namespace=profile.namespace,
        labels=labels,
        annotations={
            "workflows.argoproj.io/title": f"{spec.run}: {experiment.title or experiment.name}",
            "workflows.argoproj.io/description": _description(spec),
            ORDER_ANNOTATION: spec.kept,
        },
        entrypoint="prediction" if spec.predicts else "cross-validation",
        arguments=[Parameter(name="experiment", value=experiment_parameter(experiment))],
        service_account_name=profile.service_account,
        image_pull_secrets=list(profile.images.pull_secrets) or None,
        pod_metadata=m.Metadata(labels={**labels, **queue}, annotations=annotations or None),
        pod_priority_class_name=profile.priority_class,
        pod_spec_patch=pod_spec_patch(profile),
        security_context=pod_security(profile),
        volumes=shared_volumes(profile),
        parallelism=profile.parallelism,
        active_deadline_seconds=profile.run_deadline,
        pod_disruption_budget=NEVER_DISRUPT if protected else None,
        pod_gc=m.PodGC(strategy="OnWorkflowSuccess", delete_delay_duration=POD_DELETE_DELAY),
        ttl_strategy=m.TTLStrategy(
            seconds_after_success=profile.keep_success, seconds_after_failure=profile.keep_failure
        ),
    )


def _depends(task: PlannedTask, tolerant: bool, labelled: bool) -> str | None:
    """A task waits for all tasks it needs; a tolerant ensemble also starts after failed ones.

    With ``labelled``, a training is omitted where its labels failed; after prepare failed nothing is to start.
    """
    names = [needed.name for needed in task.needs]
    if tolerant and task.id.stage is Stage.ENSEMBLE and len(names) > 1:
        ends = ("Succeeded", "Failed", "Errored", *(["Omitted"] if labelled else []))
        ended = [f"({' || '.join(f'{name}.{end}' for end in ends)})" for name in names]
        return " && ".join([*(["prepare.Succeeded"] if labelled else []), *ended])
    return " && ".join(names) or None


def _description(spec: RunSpec) -> str:
    """Shown at the top of Argo's page, as Markdown."""
    profile, experiment = spec.profile, spec.on_its_films
    store = profile.store.url.rstrip("/")
    models = ", ".join(f"`{name}`" for name in experiment.models)
    folds = ", ".join(str(fold) for fold in experiment.folds.selected)
    result = layout.report(spec.run, "submission.csv" if spec.predicts else "report.html")
    page = profile.page(result)
    source = f"Films: `{experiment.data.source}`"
    weights = f", weights of run `{spec.test_set.from_run}`." if spec.test_set else "."
    lines = [
        f"Experiment **{experiment.name}**: {models} on folds {folds}, seed {experiment.seed}, code `{spec.revision}`.",
        source + weights,
        f"Result: `{store}/{result}`" + (f" ([open it]({page}))." if page else "."),
        f"Logs: `python workflows/cv.py logs {spec.run}`, or `kubectl logs -n {profile.namespace} "
        f"-l {RUN_LABEL}={spec.run} -c main --prefix`.",
    ]
    if len(experiment.models) * len(experiment.folds.selected) > SHOWN_CHILDREN:
        lines.append(
            f"The graph hides more than {SHOWN_CHILDREN} tasks behind *hidden nodes*: click them to see the folds."
        )
    if experiment.remark:
        lines.insert(1, experiment.remark)
    return "\n\n".join(lines)
