{{/* Settings as environment variables, and the Secrets that they name. */}}

{{/* A value as text. Helm reads whole numbers as floats, which it prints as 1e+06. */}}
{{- define "headrace.text" -}}
{{- if kindIs "slice" . -}}
{{ join "," . }}
{{- else if kindIs "float64" . -}}
{{- if eq (float64 (int64 .)) . }}{{ int64 . }}{{ else }}{{ . }}{{ end -}}
{{- else -}}
{{ . }}
{{- end -}}
{{- end }}

{{/* The database's URL of a role: (dict "root" . "role" ROLE). */}}
{{- define "headrace.databaseUrl" -}}
{{- $database := .root.Values.database -}}
{{- $ca := "" -}}
{{- $host := $database.host -}}
{{- $port := int64 $database.port -}}
{{- $mode := $database.sslMode -}}
{{- if eq $database.mode "internal" -}}
{{- $host = printf "%s-postgresql" (include "headrace.fullname" .root) -}}
{{- $port = 5432 -}}
{{- $mode = $mode | default "prefer" -}}
{{- else if eq $database.mode "cloudnativepg" -}}
{{- $host = printf "%s-rw" (include "headrace.databaseCluster" .root) -}}
{{- $port = 5432 -}}
{{- $mode = $mode | default "verify-full" -}}
{{- else -}}
{{- $host = required "database.host: name the external server" $host -}}
{{- $mode = $mode | default (ternary "verify-full" "require" (not (empty $database.caSecret.name))) -}}
{{- end -}}
{{- if include "headrace.databaseCa" .root }}{{ $ca = "&sslrootcert=/run/secrets/headrace/database-ca.crt" }}{{ end -}}
postgresql://{{ .role }}@{{ $host }}:{{ $port }}/{{ $database.name }}?sslmode={{ $mode }}{{ $ca }}
{{- end }}

{{/* The Secret and key of the CA of the database's and of Kafka's certificates, if there is one: NAME/KEY. */}}
{{- define "headrace.databaseCa" -}}
{{- if eq .Values.database.mode "cloudnativepg" -}}
{{ include "headrace.databaseCluster" . }}-ca/ca.crt
{{- else if and (eq .Values.database.mode "external") .Values.database.caSecret.name -}}
{{ .Values.database.caSecret.name }}/{{ .Values.database.caSecret.key }}
{{- end -}}
{{- end }}

{{- define "headrace.kafkaCa" -}}
{{- if eq .Values.broker.mode "strimzi" -}}
{{ include "headrace.kafkaCluster" . }}-cluster-ca-cert/ca.crt
{{- else if and (eq .Values.broker.mode "external") .Values.broker.tls.enabled .Values.broker.tls.caSecret.name -}}
{{ .Values.broker.tls.caSecret.name }}/{{ .Values.broker.tls.caSecret.key }}
{{- end -}}
{{- end }}

{{/* The Kafka user of a login, empty without one: (dict "root" . "login" NAME). */}}
{{- define "headrace.kafkaUser" -}}
{{- $login := ternary "operator" .login (eq .login "owner") -}}
{{- if eq .root.Values.broker.mode "strimzi" -}}
{{ include "headrace.fullname" .root }}-{{ $login }}
{{- else if and (eq .root.Values.broker.mode "external") .root.Values.broker.sasl.enabled -}}
headrace-{{ $login }}
{{- end -}}
{{- end }}

{{/*
The settings of a program as a map of keys: (dict "root" . "component" NAME "login" LOGIN "service" SERVICE "serves" BOOL).
`login` is a service or `owner`. `service` is the section that the program reads, if any. `serves`: it has an admin API.
*/}}
{{- define "headrace.settings" -}}
{{- $values := .root.Values -}}
{{- $settings := dict "data_dir" "/var/lib/headrace" -}}
{{- if .serves -}}
{{- $_ := set $settings "admin.token_file" (printf "/run/secrets/headrace/%s.token" .service) -}}
{{- else if eq .component "cli" -}}
{{- $_ := set $settings "admin.token_dir" "/run/secrets/headrace" -}}
{{- end -}}
{{- $_ := set $settings "database.url" (include "headrace.databaseUrl" (dict "root" .root "role" (printf "headrace_%s" .login))) -}}
{{- $_ := set $settings "database.password_file" (printf "/run/secrets/headrace/headrace_%s.password" .login) -}}
{{- /* Plain http: network policies let only Headrace and the monitoring reach the port. */ -}}
{{- $_ := set $settings "admin.behind_proxy" "true" -}}
{{- $hosts := list -}}
{{- range $service := include "headrace.services" .root | fromYamlArray -}}
{{- $name := printf "%s-%s" (include "headrace.fullname" $.root) $service -}}
{{- $hosts = concat $hosts (list $name (printf "%s.%s" $name $.root.Release.Namespace) (printf "%s.%s.svc" $name $.root.Release.Namespace)) -}}
{{- end -}}
{{- $_ := set $settings "admin.hosts" (concat $hosts (default (list) $values.admin.podNetworks) | join ",") -}}
{{- if .serves -}}
{{- $_ := set $settings "admin.allowed_hosts" ($hosts | join ",") -}}
{{- $_ := set $settings "admin.host" "0.0.0.0" -}}
{{- $_ := set $settings "admin.port" "8080" -}}
{{- $_ := set $settings "admin.advertised_url" "http://$(POD_IP):8080" -}}
{{- $_ := set $settings "service.slot" "auto" -}}
{{- end -}}
{{- $_ := set $settings "broker.partitions" $values.broker.partitions -}}
{{- $_ := set $settings "broker.retention_days" $values.broker.retentionDays -}}
{{- if eq $values.broker.mode "embedded" -}}
{{- $_ := set $settings "broker.url" "embedded" -}}
{{- else -}}
{{- if eq $values.broker.mode "strimzi" -}}
{{- $_ := set $settings "broker.url" (printf "kafka://%s-kafka-bootstrap:9093" (include "headrace.kafkaCluster" .root)) -}}
{{- else -}}
{{- $_ := set $settings "broker.url" (printf "kafka://%s" (required "broker.bootstrapServers: name the external Kafka" $values.broker.bootstrapServers)) -}}
{{- end -}}
{{- with include "headrace.replicationFactor" .root }}{{ $_ := set $settings "kafka.replication_factor" . }}{{ end -}}
{{- with include "headrace.minInsyncReplicas" .root }}{{ $_ := set $settings "kafka.min_insync_replicas" . }}{{ end -}}
{{- if or (eq $values.broker.mode "strimzi") $values.broker.tls.enabled }}{{ $_ := set $settings "kafka.tls" "true" }}{{ end -}}
{{- if include "headrace.kafkaCa" .root }}{{ $_ := set $settings "kafka.ca_file" "/run/secrets/headrace/kafka-ca.crt" }}{{ end -}}
{{- with include "headrace.kafkaUser" . -}}
{{- $_ := set $settings "kafka.username" . -}}
{{- $_ := set $settings "kafka.password_file" "/run/secrets/headrace/kafka.password" -}}
{{- $_ := set $settings "kafka.mechanism" (ternary "SCRAM-SHA-512" $values.broker.sasl.mechanism (eq $values.broker.mode "strimzi")) -}}
{{- end -}}
{{- end -}}
{{- if eq (.service | default "") "notifier" -}}
{{- range $key, $value := include "headrace.notifierSettings" $values.notifier | fromYaml -}}
{{- if $value }}{{ $_ := set $settings $key $value }}{{ end -}}
{{- end -}}
{{- end -}}
{{- range $key, $value := $values.settings }}{{ $_ := set $settings $key $value }}{{ end -}}
{{- with .service -}}
{{- range $key, $value := (get $values.services .).settings }}{{ $_ := set $settings $key $value }}{{ end -}}
{{- end -}}
{{- if and (eq (.service | default "") "fetcher") $values.services.fetcher.sourceFile -}}
{{- $_ := set $settings "fetcher.source" "/etc/headrace/source.yaml" -}}
{{- end -}}
{{- if and (eq (.service | default "") "fetcher") $values.simulator.enabled -}}
{{- $_ := set $settings "fetcher.source" "simulator" -}}
{{- $_ := set $settings "fetcher.base_url" (printf "http://%s-simulator:8080" (include "headrace.fullname" .root)) -}}
{{- end -}}
{{- toYaml $settings -}}
{{- end }}

{{/* The settings of the notifier that follow from `.Values.notifier`; an empty one is not set. */}}
{{- define "headrace.notifierSettings" -}}
{{- $secrets := "/run/secrets/headrace" -}}
notifier.channels: {{ toJson .channels }}
notifier.rules_file: {{ ternary "/etc/headrace/notifier/rules.yaml" "" (not (empty .rules)) | quote }}
notifier.discord_webhook_file: {{ with .discord.webhookKey }}{{ $secrets }}/{{ . }}{{ end }}
notifier.slack_webhook_files: {{ include "headrace.namedFiles" .slack.webhooks }}
{{- $named := list }}
{{- range .webhook.urls }}
{{- if .name }}{{ $named = append $named . }}{{ else }}
notifier.webhook_url_file: {{ $secrets }}/{{ .key }}
{{- end }}
{{- end }}
notifier.webhook_url_files: {{ include "headrace.namedFiles" $named }}
{{- with .bot }}
{{- if .enabled }}
notifier.bot_token_file: {{ $secrets }}/{{ .tokenKey }}
notifier.bot_api_token_file: {{ with .apiTokenKey }}{{ $secrets }}/{{ . }}{{ end }}
notifier.bot_guild_id: {{ .guildId | quote }}
notifier.bot_channel: {{ .channel | quote }}
notifier.bot_board_channel: {{ .boardChannel | quote }}
{{- $roles := list }}
{{- range $id, $scope := .roles }}{{ $roles = append $roles (printf "%s=%s" $id $scope) }}{{ end }}
notifier.bot_roles: {{ toJson $roles }}
{{- end }}
{{- end }}
{{- with .email }}
{{- if .host }}
notifier.email_host: {{ .host | quote }}
notifier.email_port: {{ include "headrace.mailPort" . | quote }}
notifier.email_security: {{ .security }}
notifier.email_user: {{ .user | quote }}
notifier.email_password_file: {{ with .user }}{{ $secrets }}/{{ $.email.passwordKey }}{{ end }}
notifier.email_ca_file: {{ with .caSecret.name }}{{ $secrets }}/mail-ca.crt{{ end }}
notifier.email_from: {{ .from | quote }}
notifier.email_to: {{ toJson .to }}
{{- end }}
{{- end }}
{{- end }}

{{/* A list of `{key: KEY}` and `{name: NAME, key: KEY}` as FILE and NAME=FILE. */}}
{{- define "headrace.namedFiles" -}}
{{- $files := list -}}
{{- range . -}}
{{- $file := printf "/run/secrets/headrace/%s" .key -}}
{{- with .name }}{{ $file = printf "%s=%s" . $file }}{{ end -}}
{{- $files = append $files $file -}}
{{- end -}}
{{- toJson $files -}}
{{- end }}

{{- define "headrace.mailPort" -}}
{{ .port | default (ternary 465 587 (eq .security "tls")) | int64 }}
{{- end }}

{{/* The keys of the notifier's Secret that its settings name. */}}
{{- define "headrace.notifierKeys" -}}
{{- $notifier := .Values.notifier -}}
{{- $keys := list $notifier.discord.webhookKey -}}
{{- range concat $notifier.slack.webhooks $notifier.webhook.urls }}{{ $keys = append $keys .key }}{{ end -}}
{{- if $notifier.bot.enabled }}{{ $keys = append (append $keys $notifier.bot.tokenKey) $notifier.bot.apiTokenKey }}{{ end -}}
{{- if and $notifier.email.host $notifier.email.user }}{{ $keys = append $keys $notifier.email.passwordKey }}{{ end -}}
{{- compact $keys | uniq | toJson -}}
{{- end }}

{{/* Replicas of a topic and how many must acknowledge. With Strimzi the default follows the number of nodes. */}}
{{- define "headrace.replicationFactor" -}}
{{- if .Values.broker.replicationFactor -}}
{{ .Values.broker.replicationFactor }}
{{- else if eq .Values.broker.mode "strimzi" -}}
{{ min 3 (int .Values.broker.strimzi.replicas) }}
{{- end -}}
{{- end }}

{{- define "headrace.minInsyncReplicas" -}}
{{- if .Values.broker.minInsyncReplicas -}}
{{ .Values.broker.minInsyncReplicas }}
{{- else if eq .Values.broker.mode "strimzi" -}}
{{ ternary 2 1 (ge (int .Values.broker.strimzi.replicas) 3) }}
{{- end -}}
{{- end }}

{{/* The variables of a container. A variable occurs once, because the settings are a map. */}}
{{- define "headrace.env" -}}
{{- if .serves }}
- name: POD_IP
  valueFrom: {fieldRef: {fieldPath: status.podIP}}
{{- end }}
{{- range $key, $value := include "headrace.settings" . | fromYaml }}
- name: HEADRACE_{{ $key | replace "." "__" | upper }}
  value: {{ include "headrace.text" $value | quote }}
{{- end }}
{{- end }}

{{/*
The services whose token a program has: a service its own, the operator's shell all of them, a job none.
*/}}
{{- define "headrace.tokenOwners" -}}
{{- if .serves -}}
[{{ .service }}]
{{- else -}}
{{ ternary (include "headrace.services" .root) "[]" (eq .component "cli") }}
{{- end -}}
{{- end }}

{{/*
The volume with the secret files of a program:
(dict "root" . "component" NAME "login" LOGIN "service" SERVICE "serves" BOOL "allRoles" BOOL).
`allRoles`: the passwords of all roles, for the migration.
*/}}
{{- define "headrace.secretVolume" -}}
{{- $root := .root -}}
name: secrets
projected:
  defaultMode: 0440
  sources:
    {{- $isOperators := and (eq .login "owner") (eq $root.Values.database.mode "cloudnativepg") }}
    {{- if $isOperators }}
    - secret:
        name: {{ include "headrace.databaseCluster" $root }}-app
        items:
          - {key: password, path: headrace_owner.password}
    {{- end }}
    {{- if or .allRoles (not $isOperators) }}
    - secret:
        name: {{ include "headrace.databaseSecret" $root }}
        items:
          {{- if not $isOperators }}
          - {key: headrace_{{ .login }}.password, path: headrace_{{ .login }}.password}
          {{- end }}
          {{- if .allRoles }}
          {{- range concat (include "headrace.services" $root | fromYamlArray) (list "reader") }}
          - {key: headrace_{{ . }}.password, path: headrace_{{ . }}.password}
          {{- end }}
          {{- end }}
    {{- end }}
    {{- with include "headrace.tokenOwners" . | fromYamlArray }}
    - secret:
        name: {{ include "headrace.adminSecret" $root }}
        items:
          {{- range . }}
          - {key: {{ . }}.token, path: {{ . }}.token}
          {{- end }}
    {{- end }}
    {{- with include "headrace.databaseCa" $root }}
    - secret:
        name: {{ splitList "/" . | first }}
        items:
          - {key: {{ splitList "/" . | last }}, path: database-ca.crt}
    {{- end }}
    {{- with include "headrace.kafkaCa" $root }}
    - secret:
        name: {{ splitList "/" . | first }}
        items:
          - {key: {{ splitList "/" . | last }}, path: kafka-ca.crt}
    {{- end }}
    {{- with include "headrace.kafkaUser" . }}
    - secret:
        {{- if eq $root.Values.broker.mode "strimzi" }}
        name: {{ . }}
        items:
          - {key: password, path: kafka.password}
        {{- else }}
        name: {{ include "headrace.kafkaSecret" $root }}
        items:
          - {key: {{ . }}.password, path: kafka.password}
        {{- end }}
    {{- end }}
    {{- if eq (.service | default "") "notifier" }}
    {{- with include "headrace.notifierKeys" $root | fromJsonArray }}
    - secret:
        name: {{ include "headrace.notifierSecret" $root }}
        items:
          {{- range . }}
          - {key: {{ . }}, path: {{ . }}}
          {{- end }}
    {{- end }}
    {{- with $root.Values.notifier.email }}
    {{- if and .host .caSecret.name }}
    - secret:
        name: {{ .caSecret.name }}
        items:
          - {key: {{ .caSecret.key }}, path: mail-ca.crt}
    {{- end }}
    {{- end }}
    {{- end }}
{{- end }}
