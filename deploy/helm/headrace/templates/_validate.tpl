{{/* Combinations of values that cannot work. The schema checks types and single values. */}}
{{- define "headrace.validate" -}}
{{- if and .Values.migration.hook (or (ne .Values.database.mode "external") (eq .Values.broker.mode "strimzi")) -}}
{{- fail "migration.hook: a hook runs before the resources of the release change, so the database and the broker must be outside the release" -}}
{{- end -}}
{{- if and (eq .Values.broker.mode "external") .Values.broker.sasl.enabled (not .Values.broker.tls.enabled) -}}
{{- fail "broker.sasl.enabled: Headrace sends no password without TLS; set broker.tls.enabled" -}}
{{- end -}}
{{- if and (eq .Values.broker.mode "external") .Values.broker.sasl.enabled (not .Values.externalSecrets.enabled) (not .Values.broker.sasl.existingSecret) -}}
{{- fail "broker.sasl.existingSecret: name the Secret with the passwords of the Kafka users" -}}
{{- end -}}
{{- if and (include "headrace.notifierKeys" . | fromJsonArray) (not .Values.externalSecrets.enabled) (not .Values.notifier.existingSecret) -}}
{{- fail "notifier.existingSecret: name the Secret with the tokens, passwords and URLs of the channels" -}}
{{- end -}}
{{- if and .Values.notifier.bot.enabled (not .Values.notifier.bot.guildId) -}}
{{- fail "notifier.bot.guildId: name the Discord server that the bot serves" -}}
{{- end -}}
{{- if and (has "discord-bot" .Values.notifier.channels) (not (and .Values.notifier.bot.enabled .Values.notifier.bot.channel)) -}}
{{- fail "notifier.channels: discord-bot needs notifier.bot.enabled and notifier.bot.channel" -}}
{{- end -}}
{{- if ne (empty .Values.notifier.email.host) (empty .Values.notifier.email.from) -}}
{{- fail "notifier.email: host and from must be set together" -}}
{{- end -}}
{{- if and (eq .Values.database.mode "external") (not .Values.externalSecrets.enabled) (not .Values.database.existingSecret) -}}
{{- fail "database.existingSecret: name the Secret with the passwords of the external server's roles" -}}
{{- end -}}
{{- $tokens := and .Values.admin.existingSecret (lookup "v1" "Secret" .Release.Namespace .Values.admin.existingSecret) -}}
{{- range $service := include "headrace.services" . | fromYamlArray -}}
{{- if and $tokens (not (hasKey ($tokens.data | default dict) (printf "%s.token" $service))) -}}
{{- fail (printf "admin.existingSecret: the Secret %s has no key %s.token; give each service a token of its own (docs/kubernetes.md)" $.Values.admin.existingSecret $service) -}}
{{- end -}}
{{- with (get $.Values.services $service).autoscaling -}}
{{- if and .enabled (gt (int64 .maxReplicas) (int64 $.Values.broker.partitions)) -}}
{{- fail (printf "services.%s.autoscaling.maxReplicas: %d replicas for %d partitions; a replica without a partition does nothing" $service (int64 .maxReplicas) (int64 $.Values.broker.partitions)) -}}
{{- end -}}
{{- if and .enabled (gt (int64 .minReplicas) (int64 .maxReplicas)) -}}
{{- fail (printf "services.%s.autoscaling: minReplicas is above maxReplicas" $service) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end }}
