{{- define "stepdown.name" -}}
{{- $whole := printf "%s-%s" .Release.Name .Chart.Name }}
{{- contains .Chart.Name .Release.Name | ternary .Release.Name $whole | trunc 40 | trimSuffix "-" }}
{{- end }}

{{- define "stepdown.selector" -}}
app.kubernetes.io/name: stepdown
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: gateway
{{- end }}

{{- define "stepdown.valkeySelector" -}}
app.kubernetes.io/name: stepdown
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: valkey
{{- end }}

{{- define "stepdown.labels" -}}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "stepdown.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "stepdown.stateUrl" -}}
{{- if .Values.valkey.enabled }}redis://{{ include "stepdown.name" . }}-valkey:6379/0{{ else }}{{ .Values.state.url }}{{ end }}
{{- end }}

{{- /* The secret that holds the password of the shared state; empty without one. */}}
{{- define "stepdown.stateSecret" -}}
{{- if .Values.valkey.enabled }}{{ toYaml .Values.valkey.passwordSecret }}{{ else if and .Values.state.url .Values.state.passwordSecret.name }}{{ toYaml .Values.state.passwordSecret }}{{ end }}
{{- end }}

{{- define "stepdown.restricted" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "stepdown.check" -}}
{{- $shared := include "stepdown.stateUrl" . }}
{{- if and .Values.valkey.enabled .Values.state.url }}
{{- fail "state.url and valkey.enabled exclude each other: name your own server, or take the chart's" }}
{{- end }}
{{- if and .Values.valkey.enabled (not .Values.valkey.passwordSecret.name) }}
{{- fail "valkey.passwordSecret.name is required: a secret with the password of Valkey" }}
{{- end }}
{{- if and (gt (int .Values.replicas) 1) (not $shared) (not .Values.independent) }}
{{- fail "replicas is more than 1, but they share no state: each would have its own keys, limits and certificates. Set valkey.enabled or state.url, or independent: true if that is what you want" }}
{{- end }}
{{- if and .Values.metrics.enabled (not .Values.metrics.tokenSecret.name) }}
{{- fail "metrics.tokenSecret.name is required: beyond loopback every caller of the admin plane needs a token" }}
{{- end }}
{{- if and .Values.metrics.serviceMonitor.enabled (not .Values.metrics.enabled) }}
{{- fail "metrics.serviceMonitor.enabled needs metrics.enabled" }}
{{- end }}
{{- end }}
