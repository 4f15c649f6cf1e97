{{/*
What a container works with, by parts. A part is named once per container and brings environment, mounts and volumes:
  link        the API's address and the key that signs calls to it
  control     the control plane's database, Dagster's for reading, and the limits
  dagster     Dagster's own database
  topics      which topics there are           kafka      the log, its topics included; and
  s3          the object store: both with the login of the image's plane
  instance    dagster.yaml                     instance-no-launcher  the same, for what has no token
  workspace   where the code location is       profiles   profiles.toml and images.toml
  executor    the executors' pod template      scratch    room for Spark's local files
  schedules   schedules.toml, and the keys with which they ask
*/}}
{{- define "lakemill.fromSecret" -}}
- {name: {{ index . 0 }}, valueFrom: {secretKeyRef: {name: {{ index . 1 | quote }}, key: {{ index . 2 | quote }}}}}
{{- end }}
{{/* (name, value). Helm reads every number as a float, and would write a million as 1e+06. */}}
{{- define "lakemill.plain" -}}
{{- $value := index . 1 -}}
{{- if and (kindIs "float64" $value) (eq (floor $value) $value) }}{{ $value = int64 $value }}{{ end -}}
- {name: {{ index . 0 }}, value: {{ $value | toString | quote }}}
{{- end }}

{{- define "lakemill.postgresqlCaFile" -}}
/etc/lakemill-tls/postgresql/{{ .Values.postgresql.ca.key }}
{{- end }}
{{- define "lakemill.s3CaFile" -}}
/etc/lakemill-tls/s3/{{ .Values.s3.ca.key }}
{{- end }}

{{/* {root, image, parts, env}: a container's environment. The lines of .env come last but for extraEnv. */}}
{{- define "lakemill.env" -}}
{{- range .parts }}
{{- if has . (list "link" "control" "dagster" "scratch" "topics" "schedules") }}
{{ include (printf "lakemill.env.%s" .) $.root }}
{{- else if has . (list "kafka" "s3") }}
{{ include (printf "lakemill.env.%s" .) (list $.root $.image) }}
{{- else if hasPrefix "instance" . }}
{{ include "lakemill.env.instance" $.root }}
{{- end }}
{{- end }}
{{- if and .root.Values.postgresql.ca.secret (or (has "control" .parts) (has "dagster" .parts)) }}
{{ include "lakemill.plain" (list "PGSSLROOTCERT" (include "lakemill.postgresqlCaFile" .root)) }}
{{- end }}
{{- range .env }}
{{ include "lakemill.plain" . }}
{{- end }}
{{- with .root.Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "lakemill.env.link" -}}
{{ include "lakemill.plain" (list "LAKEMILL_API_URL" (printf "http://%s-api:8400" (include "lakemill.fullname" .))) }}
{{ include "lakemill.fromSecret" (list "LAKEMILL_INTERNAL_SECRET" .Values.internalSecret.secret .Values.internalSecret.key) }}
{{- end }}

{{- define "lakemill.env.control" -}}
{{- with .Values.postgresql }}
{{- include "lakemill.fromSecret" (list "LAKEMILL_DATABASE_URL" .control.secret .control.key) }}
{{ include "lakemill.fromSecret" (list "LAKEMILL_DAGSTER_DATABASE_URL" .dagsterReader.secret .dagsterReader.key) }}
{{- end }}
{{ include "lakemill.plain" (list "LAKEMILL_DAGSTER_URL" (printf "http://%s-webserver:3000" (include "lakemill.fullname" .))) }}
{{- with .Values.readOnlyWebserver.url }}
{{ include "lakemill.plain" (list "LAKEMILL_DAGSTER_UI_URL" .) }}
{{- end }}
{{ include "lakemill.plain" (list "LAKEMILL_MAX_IN_FLIGHT" .Values.limits.maxInFlight) }}
{{ include "lakemill.plain" (list "LAKEMILL_MAX_ATTEMPTS" .Values.limits.maxAttempts) }}
{{ include "lakemill.plain" (list "LAKEMILL_RETAIN_PROCESSES_DAYS" .Values.retention.processesDays) }}
{{ include "lakemill.plain" (list "LAKEMILL_RETAIN_IDEMPOTENCY_DAYS" .Values.retention.idempotencyDays) }}
{{ include "lakemill.plain" (list "LAKEMILL_RETAIN_DEAD_LETTERS_DAYS" .Values.retention.deadLettersDays) }}
{{- with .Values.callbacks.allow }}
{{ include "lakemill.plain" (list "LAKEMILL_CALLBACK_ALLOW" (join "," .)) }}
{{- end }}
{{- end }}

{{- define "lakemill.env.dagster" -}}
{{ include "lakemill.fromSecret" (list "DAGSTER_POSTGRES_URL" .Values.postgresql.dagster.secret .Values.postgresql.dagster.key) }}
{{- end }}

{{- define "lakemill.env.topics" -}}
{{- with .Values.kafka }}
{{- include "lakemill.plain" (list "LAKEMILL_KAFKA_TOPIC" .topic) }}
{{- if .directTopics }}
{{- $direct := list }}
{{- range $topic, $tenant := .directTopics }}{{ $direct = append $direct (printf "%s=%s" $topic $tenant) }}{{ end }}
{{ include "lakemill.plain" (list "LAKEMILL_DIRECT_TOPICS" (join "," $direct)) }}
{{- end }}
{{- end }}
{{- end }}

{{/* (root, plane) */}}
{{- define "lakemill.env.kafka" -}}
{{- $root := index . 0 -}}
{{- $plane := index . 1 -}}
{{- with $root.Values.kafka }}
{{- include "lakemill.plain" (list "LAKEMILL_KAFKA_BOOTSTRAP" .bootstrap) }}
{{ include "lakemill.env.topics" $root }}
{{ include "lakemill.plain" (list "LAKEMILL_KAFKA_SECURITY_PROTOCOL" .securityProtocol) }}
{{- if hasPrefix "SASL" .securityProtocol }}
{{ include "lakemill.plain" (list "LAKEMILL_KAFKA_SASL_MECHANISM" .sasl.mechanism) }}
{{- with index .sasl $plane }}
{{ include "lakemill.fromSecret" (list "LAKEMILL_KAFKA_SASL_USERNAME" .secret .usernameKey) }}
{{ include "lakemill.fromSecret" (list "LAKEMILL_KAFKA_SASL_PASSWORD" .secret .passwordKey) }}
{{- end }}
{{- end }}
{{- if .ca.secret }}
{{ include "lakemill.plain" (list "LAKEMILL_KAFKA_CA_FILE" (printf "/etc/lakemill-tls/kafka/%s" .ca.key)) }}
{{- end }}
{{- end }}
{{- end }}

{{/* (root, plane). The AWS_ names are for what reads no setting of ours: Dagster's log manager, and the token
exchange. */}}
{{- define "lakemill.env.s3" -}}
{{- $root := index . 0 -}}
{{- with $root.Values.s3 }}
{{- include "lakemill.plain" (list "LAKEMILL_LAKE_BUCKET" .buckets.lake) }}
{{ include "lakemill.plain" (list "LAKEMILL_LANDING_BUCKET" .buckets.landing) }}
{{- with .registerSources }}
{{ include "lakemill.plain" (list "LAKEMILL_REGISTER_SOURCES" (join "," .)) }}
{{- end }}
{{ include "lakemill.plain" (list "LAKEMILL_S3_REGION" .region) }}
{{ include "lakemill.plain" (list "AWS_DEFAULT_REGION" .region) }}
{{- if .endpoint }}
{{ include "lakemill.plain" (list "LAKEMILL_S3_ENDPOINT" .endpoint) }}
{{- end }}
{{- with (index . (index $ 1)).credentials }}{{ if .secret }}
{{ include "lakemill.fromSecret" (list "LAKEMILL_S3_ACCESS_KEY" .secret .accessKeyKey) }}
{{ include "lakemill.fromSecret" (list "LAKEMILL_S3_SECRET_KEY" .secret .secretKeyKey) }}
{{ include "lakemill.fromSecret" (list "AWS_ACCESS_KEY_ID" .secret .accessKeyKey) }}
{{ include "lakemill.fromSecret" (list "AWS_SECRET_ACCESS_KEY" .secret .secretKeyKey) }}
{{- end }}{{ end }}
{{- end }}
{{ include "lakemill.plain" (list "LAKEMILL_PERMIT_SECONDS" $root.Values.limits.permitSeconds) }}
{{- if $root.Values.s3.ca.secret }}
{{ include "lakemill.plain" (list "AWS_CA_BUNDLE" (include "lakemill.s3CaFile" $root)) }}
{{- end }}
{{- include "lakemill.env.s3Executor" . }}
{{- end }}

{{/* (root, plane): what an executor is told of the object store; everyone else is told it too. */}}
{{- define "lakemill.env.s3Executor" }}
{{- $root := index . 0 -}}
{{- if $root.Values.s3.ca.secret }}
{{ include "lakemill.plain" (list "LAKEMILL_S3_CA_FILE" (include "lakemill.s3CaFile" $root)) }}
{{- end }}
{{- include "lakemill.env.webIdentity" . }}
{{- end }}

{{/* (root, plane): what makes the pod's own token its credentials. Java reads AWS_REGION, Python AWS_DEFAULT_REGION. */}}
{{- define "lakemill.env.webIdentity" }}
{{- $s3 := (index . 0).Values.s3 -}}
{{- with (index $s3 (index . 1)).webIdentity.roleArn }}
{{ include "lakemill.plain" (list "AWS_ROLE_ARN" .) }}
{{ include "lakemill.plain" (list "AWS_REGION" $s3.region) }}
{{ include "lakemill.plain" (list "AWS_WEB_IDENTITY_TOKEN_FILE" "/var/run/secrets/lakemill-s3/token") }}
{{- end }}
{{- end }}

{{- define "lakemill.env.schedules" -}}
{{- with .Values.scheduleKeys }}{{ if .secret }}
{{- include "lakemill.fromSecret" (list "LAKEMILL_SCHEDULE_KEYS" .secret .key) }}
{{- end }}{{ end }}
{{- end }}

{{- define "lakemill.env.instance" -}}
{{ include "lakemill.plain" (list "DAGSTER_HOME" "/etc/dagster") }}
{{ include "lakemill.plain" (list "DAGSTER_KEEP_CONNECTIONS" 10) }}
{{- end }}

{{- define "lakemill.env.scratch" -}}
{{ include "lakemill.plain" (list "SPARK_LOCAL_DIRS" "/var/lakemill/spark") }}
{{ include "lakemill.plain" (list "TMPDIR" "/var/lakemill/spark") }}
{{- end }}

{{/* {root, image, parts}: a container's mounts. The root file system is read-only, so /tmp is always one of them. */}}
{{- define "lakemill.mounts" -}}
- {name: tmp, mountPath: /tmp}
{{- range .parts }}
{{- if hasPrefix "instance" . }}
- {name: {{ . }}, mountPath: /etc/dagster, readOnly: true}
{{- else if eq . "workspace" }}
- {name: workspace, mountPath: /etc/lakemill, readOnly: true}
{{- else if eq . "profiles" }}
- {name: profiles, mountPath: /app/deploy/profiles.toml, subPath: profiles.toml, readOnly: true}
- {name: profiles, mountPath: /app/deploy/images.toml, subPath: images.toml, readOnly: true}
{{- else if eq . "schedules" }}
- {name: schedules, mountPath: /app/deploy/schedules.toml, subPath: schedules.toml, readOnly: true}
{{- else if eq . "executor" }}
- {name: executor, mountPath: /etc/lakemill, readOnly: true}
{{- else if eq . "scratch" }}
- {name: spark-local-dir-1, mountPath: /var/lakemill/spark}
{{- else if and (eq . "kafka") $.root.Values.kafka.ca.secret }}
- {name: kafka-ca, mountPath: /etc/lakemill-tls/kafka, readOnly: true}
{{- else if eq . "s3" }}
{{- if $.root.Values.s3.ca.secret }}
- {name: s3-ca, mountPath: /etc/lakemill-tls/s3, readOnly: true}
{{- end }}
{{- if (index $.root.Values.s3 $.image).webIdentity.roleArn }}
- {name: s3-token, mountPath: /var/run/secrets/lakemill-s3, readOnly: true}
{{- end }}
{{- end }}
{{- end }}
{{- if and .root.Values.postgresql.ca.secret (or (has "control" .parts) (has "dagster" .parts)) }}
- {name: postgresql-ca, mountPath: /etc/lakemill-tls/postgresql, readOnly: true}
{{- end }}
{{- end }}

{{/* {root, image, parts}: the volumes of those mounts. Spark takes one named spark-local-dir-… for its local files. */}}
{{- define "lakemill.volumes" -}}
{{- $name := include "lakemill.fullname" .root -}}
- {name: tmp, emptyDir: {sizeLimit: 1Gi}}
{{- range .parts }}
{{- if has . (list "instance" "instance-no-launcher" "workspace" "profiles" "schedules" "executor") }}
- {name: {{ . }}, configMap: {name: {{ $name }}-{{ . }}}}
{{- else if eq . "scratch" }}
- {name: spark-local-dir-1, emptyDir: {sizeLimit: {{ $.root.Values.launching.scratchSize | quote }}}}
{{- else if and (eq . "kafka") $.root.Values.kafka.ca.secret }}
- {name: kafka-ca, secret: {secretName: {{ $.root.Values.kafka.ca.secret | quote }}}}
{{- else if eq . "s3" }}
{{- if $.root.Values.s3.ca.secret }}
- {name: s3-ca, secret: {secretName: {{ $.root.Values.s3.ca.secret | quote }}}}
{{- end }}
{{- with (index $.root.Values.s3 $.image).webIdentity }}{{ if .roleArn }}
- name: s3-token
  projected:
    sources:
    - serviceAccountToken: {path: token, audience: {{ .audience | quote }}, expirationSeconds: 3600}
{{- end }}{{ end }}
{{- end }}
{{- end }}
{{- if and .root.Values.postgresql.ca.secret (or (has "control" .parts) (has "dagster" .parts)) }}
- {name: postgresql-ca, secret: {secretName: {{ .root.Values.postgresql.ca.secret | quote }}}}
{{- end }}
{{- end }}
