{{/* Names and labels. */}}

{{- define "headrace.services" -}}
[fetcher, cleaner, loader, predictor, notifier]
{{- end }}

{{- define "headrace.name" -}}
{{ .Values.nameOverride | default .Chart.Name | trunc 40 | trimSuffix "-" }}
{{- end }}

{{/* The prefix of all names: the release, and the chart if the release's name does not contain it. */}}
{{- define "headrace.fullname" -}}
{{- $name := include "headrace.name" . -}}
{{- if .Values.fullnameOverride -}}
{{ .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- else if contains $name .Release.Name -}}
{{ .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" }}
{{- end -}}
{{- end }}

{{/* Labels that select the pods of the release, or of one component: (dict "root" . "component" NAME). */}}
{{- define "headrace.selectorLabels" -}}
app.kubernetes.io/name: {{ include "headrace.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- with .component }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- end }}

{{- define "headrace.labels" -}}
{{ include "headrace.selectorLabels" . }}
app.kubernetes.io/part-of: headrace
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end }}

{{/* The metadata of a resource: (dict "root" . "component" NAME "name" SUFFIX). */}}
{{- define "headrace.metadata" -}}
name: {{ include "headrace.fullname" .root }}-{{ .name | default .component }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- include "headrace.labels" . | nindent 2 }}
{{- end }}

{{/* An image: (dict "root" . "image" MAP). */}}
{{- define "headrace.image" -}}
{{- $repository := .image.repository -}}
{{- with .root.Values.image.registry }}{{ $repository = printf "%s/%s" (trimSuffix "/" .) $repository }}{{ end -}}
{{- if .image.digest -}}
{{ printf "%s@%s" $repository .image.digest }}
{{- else -}}
{{ printf "%s:%s" $repository (.root.Values.image.tag | default .root.Chart.AppVersion) }}
{{- end -}}
{{- end }}

{{/* Names of Secrets: the existing one, or the one that this chart or an operator makes. */}}
{{- define "headrace.databaseSecret" -}}
{{ .Values.database.existingSecret | default (printf "%s-database" (include "headrace.fullname" .)) }}
{{- end }}

{{- define "headrace.adminSecret" -}}
{{ .Values.admin.existingSecret | default (printf "%s-admin" (include "headrace.fullname" .)) }}
{{- end }}

{{- define "headrace.kafkaSecret" -}}
{{ .Values.broker.sasl.existingSecret | default (printf "%s-kafka" (include "headrace.fullname" .)) }}
{{- end }}

{{- define "headrace.notifierSecret" -}}
{{ .Values.notifier.existingSecret | default (printf "%s-notifier" (include "headrace.fullname" .)) }}
{{- end }}

{{/* Name of the CloudNativePG Cluster, and of the Strimzi Kafka. */}}
{{- define "headrace.databaseCluster" -}}
{{ include "headrace.fullname" . }}-db
{{- end }}

{{- define "headrace.kafkaCluster" -}}
{{ include "headrace.fullname" . }}-kafka
{{- end }}
