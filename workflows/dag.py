"""The workflow: an experiment, a profile and a run's name go in, a hera Workflow comes out. No clock, no cluster."""

import json
from collections.abc import Mapping

from hera.workflows import DAG, Container, Parameter, Task, Workflow
from hera.workflows import models as m

from jobs.contract import layout
from jobs.contract.experiment import Experiment
from jobs.contract.profile import Profile
from workflows.plan import PlannedTask, Predict, plan
from workflows.pods import Kind, pod_security, pod_spec_patch, shared_volumes, template

RUN_LABEL = "cxrfold/run"
EXPERIMENT_LABEL = "cxrfold/experiment"
QUEUE_LABEL = "kueue.x-k8s.io/queue-name"

# Argo's pods, its cleaning up, and what keeps an autoscaler from moving them.
SAFE_TO_EVICT = {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"}
POD_DELETE_DELAY = "300s"
NEVER_DISRUPT = m.PodDisruptionBudgetSpec(min_available=m.IntOrString(root=9999))


def build(
    experiment: Experiment,
    profile: Profile,
    run: str,
    *,
    predict: Predict | None = None,
    revision: str,
    memory: Mapping[str, str] | None = None,
) -> Workflow:
    """The workflow of a run.

    Args:
        experiment: what is trained and scored.
        profile: where pods run.
        run: the run's name: the same name goes on with the same run.
        predict: a test set to predict with a finished run's weights, in place of training.
        revision: the code's git revision, for the tags of images.
        memory: memory by task name in place of the profile's, for tasks that were OOM-killed.

    Returns:
        A workflow for Argo 3.7 and 4: one task a stage, model and fold; it needs nothing but S3 between them.
    """
    if predict is not None:
        experiment = predict.instead(experiment)
    tasks = plan(experiment, predict is not None)
    with _workflow(experiment, profile, run, predict, revision) as workflow:
        templates: dict[Kind, Container] = {}
        kinds = {task.name: _kind(task, memory or {}) for task in tasks}
        for kind in kinds.values():
            if kind not in templates:
                templates[kind] = template(kind, profile, run, revision, predict.from_run if predict else None)
        tolerant = experiment.ensemble.min_folds is not None
        # A lost fold fails the run even where the ensemble went on without it: every task is a target of the DAG.
        target = " ".join(task.name for task in tasks) if tolerant else None
        with DAG(name=workflow.entrypoint, fail_fast=False, target=target):
            for task in tasks:
                Task(
                    name=task.name,
                    template=templates[kinds[task.name]],
                    arguments={"model": task.model, "fold": str(task.fold)} if task.model else {},
                    depends=_depends(task, tolerant),
                )
    return workflow


def experiment_parameter(experiment: Experiment) -> str:
    """The resolved experiment as the one parameter. Two braces in a remark must not look like a placeholder."""
    text = json.dumps(experiment.model_dump(mode="json"), separators=(",", ":"), ensure_ascii=False)
    return text.replace("{{", "{\\u007b")


def _workflow(experiment: Experiment, profile: Profile, run: str, predict: Predict | None, revision: str) -> Workflow:
    labels = {**profile.labels, RUN_LABEL: run, EXPERIMENT_LABEL: experiment.name}
    queue = {QUEUE_LABEL: profile.queue} if profile.queue else {}
    return Workflow(
        generate_name=f"{run}-",
        namespace=profile.namespace,
        labels=labels,
        annotations={
            "workflows.argoproj.io/title": f"{experiment.title or experiment.name} ({run})",
            "workflows.argoproj.io/description": _description(experiment, profile, run, predict, revision),
        },
        entrypoint="prediction" if predict else "cross-validation",
        arguments=[Parameter(name="experiment", value=experiment_parameter(experiment))],
        service_account_name=profile.service_account,
        image_pull_secrets=list(profile.images.pull_secrets) or None,
        pod_metadata=m.Metadata(labels={**labels, **queue}, annotations={**SAFE_TO_EVICT, **profile.annotations}),
        pod_priority_class_name=profile.priority_class,
        pod_spec_patch=pod_spec_patch(profile),
        security_context=pod_security(profile),
        volumes=shared_volumes(profile),
        parallelism=profile.parallelism,
        active_deadline_seconds=profile.run_deadline,
        pod_disruption_budget=NEVER_DISRUPT,
        pod_gc=m.PodGC(strategy="OnWorkflowSuccess", delete_delay_duration=POD_DELETE_DELAY),
        ttl_strategy=m.TTLStrategy(
            seconds_after_success=profile.keep_success, seconds_after_failure=profile.keep_failure
        ),
    )


def _kind(task: PlannedTask, memory: Mapping[str, str]) -> Kind:
    return Kind(task.stage, task.detector, memory.get(task.name))


def _depends(task: PlannedTask, tolerant: bool) -> str | None:
    """A gathering task waits for all others; a tolerant one takes what ended, however it ended."""
    if tolerant and len(task.needs) > 1:
        return " && ".join(f"({name}.Succeeded || {name}.Failed || {name}.Errored)" for name in task.needs)
    return " && ".join(task.needs) or None


def _description(experiment: Experiment, profile: Profile, run: str, predict: Predict | None, revision: str) -> str:
    store = profile.store.url.rstrip("/")
    models = ", ".join(f"`{name}`" for name in (*experiment.classifiers, *experiment.detectors))
    folds = ", ".join(str(fold) for fold in experiment.folds.selected)
    result = layout.report(run, "submission.csv" if predict else "report.html")
    page = profile.page(result)
    lines = [
        f"Experiment **{experiment.name}**: {models} on folds {folds}, seed {experiment.seed}, code `{revision}`.",
        f"Films: `{experiment.data.source}`" + (f", weights of run `{predict.from_run}`." if predict else "."),
        f"Result: `{store}/{result}`" + (f" ([look at it]({page}))." if page else "."),
        f"Logs: `python workflows/cv.py logs {run}`, or `kubectl logs -n {profile.namespace} "
        f"-l {RUN_LABEL}={run} -c main --prefix`.",
    ]
    if experiment.remark:
        lines.insert(1, experiment.remark)
    return "\n\n".join(lines)
