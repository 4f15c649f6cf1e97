{{/* (ports): ports of TCP. */}}
{{- define "lakemill.ports" -}}
{{- range . }}
- {protocol: TCP, port: {{ . }}}
{{- end }}
{{- end }}

{{/* (root, CIDRs): peers, without the metadata addresses in network.yaml. Two networks overlap if the bits of one begin
with those of the other. */}}
{{- define "lakemill.networks" -}}
{{- $metadata := (index . 0).Files.Get "network.yaml" | fromYaml | dig "metadata" list }}
{{- range $cidr := index . 1 }}
{{- $bits := include "lakemill.bits" $cidr }}
{{- $holes := list }}
{{- range $metadata }}
{{- $hole := include "lakemill.bits" . }}
{{- if hasPrefix $hole $bits }}
{{- fail (printf "the network %s lies within %s, a cloud's metadata addresses" $cidr .) }}
{{- else if hasPrefix $bits $hole }}
{{- $holes = append $holes . }}
{{- end }}
{{- end }}
- ipBlock:
    cidr: {{ $cidr | quote }}
    {{- with $holes }}
    except: {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end }}
{{- end }}

{{/* (CIDR): "4:" or "6:", and the bits of the network. */}}
{{- define "lakemill.bits" -}}
{{- $parts := splitList "/" . }}
{{- $address := first $parts }}
{{- $length := last $parts | int }}
{{- $bits := "" }}
{{- if contains ":" $address }}
{{- $halves := splitList "::" $address }}
{{- range first $halves | splitList ":" | compact }}{{ $bits = print $bits (printf "0x%s" . | int64 | printf "%016b") }}{{ end }}
{{- if eq (len $halves) 2 }}
{{- $rest := "" }}
{{- range last $halves | splitList ":" | compact }}{{ $rest = print $rest (printf "0x%s" . | int64 | printf "%016b") }}{{ end }}
{{- $bits = print $bits (repeat (sub 128 (print $bits $rest | len) | max 0 | int) "0") $rest }}
{{- end }}
{{- else }}
{{- range splitList "." $address }}{{ $bits = print $bits (atoi . | printf "%08b") }}{{ end }}
{{- end }}
{{- if or (ne (len $bits) (ternary 128 32 (contains ":" $address))) (gt $length (len $bits)) }}
{{- fail (printf "%s is not a network" .) }}
{{- end }}
{{- ternary "6:" "4:" (contains ":" $address) }}{{ trunc $length $bits }}
{{- end }}
