{{/* What would be found out late, some of it after a hook has run: told before anything is installed. */}}
{{- define "lakemill.checks" -}}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" .Release.Name) }}
{{- fail (printf "no Service can be named after a release %s: take a name of a-z, 0-9 and hyphens that begins with a letter" .Release.Name) }}
{{- end }}
{{- range $plane := list "control" "compute" }}
{{- with index $.Values.s3 $plane }}
{{- if and .webIdentity.roleArn .credentials.secret }}
{{- fail (printf "s3.%s: a key or web identity, not both: empty credentials.secret or webIdentity.roleArn" $plane) }}
{{- end }}
{{- end }}
{{- end }}
{{- $endpoint := .Values.s3.endpoint | default "" }}
{{- if and .Values.s3.ca.secret (hasPrefix "http://" $endpoint) }}
{{- fail "s3.ca.secret is set, but s3.endpoint begins with http://: make that https://, or empty s3.ca.secret" }}
{{- end }}
{{- with .Values.kafka }}
{{- if and .ca.secret (hasSuffix "PLAINTEXT" .securityProtocol) }}
{{- fail (printf "kafka.ca.secret is set, but kafka.securityProtocol is %s: make that SSL or SASL_SSL, or empty kafka.ca.secret" .securityProtocol) }}
{{- end }}
{{- end }}
{{- with .Values.kafka }}
{{- if hasKey (.directTopics | default dict) .topic }}
{{- fail (printf "kafka.directTopics names %s, which is kafka.topic: the log's own topic is nobody else's" .topic) }}
{{- end }}
{{- end }}
{{- with .Values.retention }}
{{- if lt (int .processesDays) (int .idempotencyDays) }}
{{- fail (printf "retention.processesDays is %v: make it at least retention.idempotencyDays, which is %v" .processesDays .idempotencyDays) }}
{{- end }}
{{- end }}
{{- range $cidr := .Values.callbacks.allow }}
{{- $address := splitList "/" $cidr | first }}
{{- $network := include "lakemill.bits" $cidr }}
{{- if contains "1" (printf "%s/%d" $address (contains ":" $cidr | ternary 128 32) | include "lakemill.bits" | trimPrefix $network) }}
{{- fail (printf "callbacks.allow names %s, and %s lies within a network of that length: name the network's first address" $cidr $address) }}
{{- end }}
{{- end }}
{{- if .Values.networkPolicy.enabled }}
{{- range splitList "," .Values.kafka.bootstrap }}
{{- include "lakemill.checkPort" (list $ "kafka" "kafka.bootstrap" (splitList ":" . | last)) }}
{{- end }}
{{- $usual := hasPrefix "http://" $endpoint | ternary "80" "443" }}
{{- $port := regexFind ":[0-9]+$" $endpoint | trimPrefix ":" | default $usual }}
{{- include "lakemill.checkPort" (list . "s3" "s3.endpoint" $port) }}
{{- end }}
{{- end }}

{{/* (root, place, value, port): whether networkPolicy.to lets our pods go where a value leads. */}}
{{- define "lakemill.checkPort" -}}
{{- $place := index . 1 }}
{{- $port := index . 3 }}
{{- with index (index . 0).Values.networkPolicy.to $place }}
{{- if not (toStrings .ports | has $port) }}
{{- fail (printf "%s leads to port %s, which no pod may reach: add it to networkPolicy.to.%s.ports" (index $ 2) $port $place) }}
{{- end }}
{{- end }}
{{- end }}
