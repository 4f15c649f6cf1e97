{{/* dagster.yaml but for the launcher, as in deploy/local/dagster.yaml. Addresses and passwords come from the
environment; what a server keeps beside itself goes to /tmp, because DAGSTER_HOME is read-only. */}}
{{- define "lakemill.dagster" -}}
storage:
  custom:
    module: orchestration.storage
    class: PooledPostgresStorage
    config:
      postgres_url: {env: DAGSTER_POSTGRES_URL}
      keep_connections: {env: DAGSTER_KEEP_CONNECTIONS}
local_artifact_storage:
  module: dagster._core.storage.root
  class: LocalArtifactStorage
  config: {base_dir: /tmp}
run_coordinator:
  module: dagster.core.run_coordinator
  class: QueuedRunCoordinator
  config:
    max_concurrent_runs: {{ .Values.launching.maxConcurrentRuns | int64 }}
    dequeue_interval_seconds: 1
# One retry engine: the control plane's. Dagster neither retries nor resumes a run.
run_retries: {enabled: false}
run_monitoring:
  enabled: true
  poll_interval_seconds: 15
  start_timeout_seconds: {{ .Values.launching.startTimeoutSeconds | int64 }}
  max_resume_run_attempts: 0
  # For a run that an operator starts without a job, and so without tags; the jobs' own tag says the same.
  max_runtime_seconds: 21600
sensors: {use_threads: true, num_workers: 4, num_submit_workers: 1}
# A schedule's tick that failed is tried again every minute until it succeeds, or the next one takes its place.
scheduler:
  module: dagster.core.scheduler
  class: DagsterDaemonScheduler
  config: {max_tick_retries: 100000}
schedules: {use_threads: true, num_workers: 4}
compute_logs:
  module: dagster_aws.s3.compute_log_manager
  class: S3ComputeLogManager
  config:
    bucket: {{ .Values.s3.buckets.logs | quote }}
    prefix: dagster
    region: {{ .Values.s3.region | quote }}
    {{- with .Values.s3.endpoint }}
    endpoint_url: {{ . | quote }}
    {{- end }}
    skip_empty_files: true
    # A pod that is killed takes no more than this of its log with it.
    upload_interval: 15
telemetry: {enabled: false}
nux: {enabled: false}
{{- end }}

{{/* The launcher: the whole pod of a run stands here, and a run may choose its size, its image and its deadline. */}}
{{- define "lakemill.launcher" -}}
{{- $parts := dict "root" . "image" "compute" "parts" (list "link" "dagster" "s3" "profiles" "executor" "scratch") -}}
{{- $name := include "lakemill.fullname" . -}}
run_launcher:
  module: orchestration.launcher
  class: LakemillRunLauncher
  config:
    service_account_name: {{ $name }}-run
    instance_config_map: {{ $name }}-instance
    dagster_home: /etc/dagster
    job_image: {{ include "lakemill.image" (list . "compute") | quote }}
    image_pull_policy: {{ .Values.images.pullPolicy }}
    {{- with .Values.images.pullSecrets }}
    image_pull_secrets: {{- toYaml . | nindent 6 }}
    {{- end }}
    job_namespace: {{ .Release.Namespace | quote }}
    only_allow_user_defined_k8s_config_fields:
      container_config: {resources: true, image: true}
      job_spec_config: {active_deadline_seconds: true}
    only_allow_user_defined_env_vars: []
    run_k8s_config:
      job_metadata:
        labels: {{- include "lakemill.selector" (list . "run") | nindent 10 }}
      job_spec_config:
        ttl_seconds_after_finished: {{ .Values.launching.jobTtlSeconds | int64 }}
        # Before run monitoring's limit, which would end the run without saying why.
        active_deadline_seconds: 21480
      pod_template_spec_metadata:
        labels:
          {{- include "lakemill.selector" (list . "run") | nindent 10 }}
          {{- with .Values.run.podLabels }}
          {{- toYaml . | nindent 10 }}
          {{- end }}
        {{- with .Values.run.podAnnotations }}
        annotations: {{- toYaml . | nindent 10 }}
        {{- end }}
      pod_spec_config:
        enableServiceLinks: false
        securityContext: {{- include "lakemill.podSecurity" . | nindent 10 }}
        volumes: {{- include "lakemill.volumes" $parts | nindent 8 }}
        {{- with include "lakemill.placement" .Values.run | trim }}
        {{- . | nindent 8 }}
        {{- end }}
      container_config:
        securityContext: {{- include "lakemill.containerSecurity" . | nindent 10 }}
        resources: {{- include "lakemill.runResources" . | nindent 10 }}
        volumeMounts: {{- include "lakemill.mounts" $parts | nindent 8 }}
        env:
        - {name: LAKEMILL_POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
        - {name: LAKEMILL_POD_NAMESPACE, valueFrom: {fieldRef: {fieldPath: metadata.namespace}}}
        - {name: LAKEMILL_POD_IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
        - {name: LAKEMILL_SPARK_MASTER, value: "k8s://https://kubernetes.default.svc"}
        - {name: LAKEMILL_EXECUTOR_SERVICE_ACCOUNT, value: {{ $name }}-executor}
        - {name: LAKEMILL_EXECUTOR_TEMPLATE, value: /etc/lakemill/executor-template.yaml}
        {{- include "lakemill.plain" (list "LAKEMILL_EXECUTOR_START_SECONDS" .Values.launching.executorStartSeconds) | nindent 8 }}
        # Runs keep no connection: they are many, and one must not fail because the database was restarted meanwhile.
        {{- include "lakemill.plain" (list "DAGSTER_KEEP_CONNECTIONS" 0) | nindent 8 }}
        {{- include "lakemill.env" $parts | trim | nindent 8 }}
{{- end }}

{{/* A run's resources where its profile says nothing: without a limit of its own, memory is limited to its request. */}}
{{- define "lakemill.runResources" -}}
{{- $resources := deepCopy .Values.run.resources -}}
{{- with ($resources.requests).memory }}
{{- $resources = mergeOverwrite (dict "limits" (dict "memory" .)) $resources }}
{{- end }}
{{- with .Values.launching.scratchRequest }}
{{- $resources = mergeOverwrite $resources (dict "requests" (dict "ephemeral-storage" .)) }}
{{- end }}
{{- toYaml $resources }}
{{- end }}

{{/* The pod that every executor begins as. Spark adds the image, the command, the environment and the resources. */}}
{{- define "lakemill.executor" -}}
{{- $parts := dict "root" . "image" "compute" "parts" (list "s3" "scratch") -}}
apiVersion: v1
kind: Pod
metadata:
  labels:
    {{- include "lakemill.selector" (list . "executor") | nindent 4 }}
    {{- with .Values.executor.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with .Values.executor.podAnnotations }}
  annotations: {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  {{- include "lakemill.pod" (dict "root" . "values" .Values.executor "account" "executor") | nindent 2 }}
  containers:
  - name: executor
    securityContext: {{- include "lakemill.containerSecurity" . | nindent 6 }}
    {{- with include "lakemill.executorEnv" . | trim }}
    env: {{- . | nindent 4 }}
    {{- end }}
    {{- with .Values.launching.scratchRequest }}
    resources: {requests: {ephemeral-storage: {{ . | quote }}}}
    {{- end }}
    volumeMounts: {{- include "lakemill.mounts" $parts | nindent 4 }}
  volumes: {{- include "lakemill.volumes" $parts | nindent 2 }}
{{- end }}

{{/* An executor has no key of the object store in its environment. */}}
{{- define "lakemill.executorEnv" -}}
{{- include "lakemill.env.s3Executor" (list . "compute") }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "lakemill.workspace" -}}
load_from:
- grpc_server: {host: {{ include "lakemill.fullname" . }}-code, port: 4000, location_name: lakemill}
{{- end }}
