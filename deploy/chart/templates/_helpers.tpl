{{/* What all names begin with. The longest suffix is "-webserver-read-only", and a name has 63 characters at most. */}}
{{- define "lakemill.fullname" -}}
{{- trunc 42 .Release.Name | trimSuffix "-" -}}
{{- end }}

{{/* What every pod of this release carries, and nothing else does. */}}
{{- define "lakemill.releaseLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{/* (root, component): what selects the pods of one component. */}}
{{- define "lakemill.selector" -}}
{{ include "lakemill.releaseLabels" (index . 0) }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{/* (root, component): the metadata of an object. A version may have a plus sign, and a label may not. */}}
{{- define "lakemill.metadata" -}}
{{- $root := index . 0 -}}
name: {{ include "lakemill.fullname" $root }}-{{ index . 1 }}
labels:
  {{- include "lakemill.selector" . | nindent 2 }}
  app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
  app.kubernetes.io/managed-by: {{ $root.Release.Service }}
  helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" | trunc 63 | trimAll "-_." }}
{{- end }}

{{/* (root, "control" or "compute"): an image by digest, or else by tag. */}}
{{- define "lakemill.image" -}}
{{- $root := index . 0 -}}
{{- $image := index $root.Values.images (index . 1) -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ $image.tag | default $root.Chart.AppVersion }}
{{- end -}}
{{- end }}

{{/* What Pod Security "restricted" asks of a pod and of a container; both images' user is 10001. */}}
{{- define "lakemill.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile: {type: RuntimeDefault}
{{- end }}
{{- define "lakemill.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* (values of one component): where its pods may be, and how important they are. */}}
{{- define "lakemill.placement" -}}
{{- range $key := list "nodeSelector" "tolerations" "affinity" }}
{{- with index $ $key }}
{{ $key }}: {{ toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- with .priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- end }}

{{/* {root, values, account}: a pod's fields beside its containers and volumes. Its account is one of accounts.yaml or the
namespace's "default", and brings a token if it has rules in rbac.yaml. Without service links, because the variables of a
Service named lakemill-… would begin like our settings. */}}
{{- define "lakemill.pod" -}}
serviceAccountName: {{ eq .account "default" | ternary "default" (printf "%s-%s" (include "lakemill.fullname" .root) .account) }}
automountServiceAccountToken: {{ hasKey (.root.Files.Get "rbac.yaml" | fromYaml) .account }}
enableServiceLinks: false
securityContext: {{- include "lakemill.podSecurity" . | nindent 2 }}
{{- with .root.Values.images.pullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with include "lakemill.placement" .values | trim }}
{{ . }}
{{- end }}
{{- end }}

{{/* {root, image, parts, env}: a container's fields beside its name and its command. */}}
{{- define "lakemill.container" -}}
image: {{ include "lakemill.image" (list .root .image) | quote }}
imagePullPolicy: {{ .root.Values.images.pullPolicy }}
securityContext: {{- include "lakemill.containerSecurity" . | nindent 2 }}
env: {{- include "lakemill.env" . | trim | nindent 2 }}
volumeMounts: {{- include "lakemill.mounts" . | nindent 2 }}
{{- end }}

{{/* (values of one component, content its pods must be rolled for): a pod template's annotations. */}}
{{- define "lakemill.annotations" -}}
checksum/config: {{ index . 1 | sha256sum | quote }}
{{- with (index . 0).podAnnotations }}
{{ toYaml . }}
{{- end }}
{{- end }}
