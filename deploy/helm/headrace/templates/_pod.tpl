{{/* Parts that all pods share. */}}

{{- define "headrace.podMetadata" -}}
labels:
  {{- include "headrace.selectorLabels" . | nindent 2 }}
  {{- with .root.Values.podLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with merge (dict) (.annotations | default dict) .root.Values.podAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* The profile `restricted` of the Pod Security Standards, and no access to the API server. */}}
{{- define "headrace.podSpec" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  {{- toYaml (.securityContext | default .root.Values.podSecurityContext) | nindent 2 }}
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with .root.Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end }}

{{- define "headrace.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}

{{/* Spread the pods of a component over zones and nodes if possible. */}}
{{- define "headrace.spread" -}}
topologySpreadConstraints:
  {{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "headrace.selectorLabels" $ | nindent 8 }}
  {{- end }}
{{- end }}

{{/* The claim that a component writes to: archive, exports, models, or none. */}}
{{- define "headrace.claimOf" -}}
{{- get (dict "fetcher" "archive" "loader" "exports" "predictor" "models") . -}}
{{- end }}

{{/* The volume of a claim: (dict "root" . "claim" NAME). */}}
{{- define "headrace.claimVolume" -}}
{{- $claim := get .root.Values.persistence .claim -}}
name: {{ .claim }}
{{- if $claim.enabled }}
persistentVolumeClaim:
  claimName: {{ $claim.existingClaim | default (printf "%s-%s" (include "headrace.fullname" .root) .claim) }}
{{- else }}
emptyDir: {}
{{- end }}
{{- end }}

{{/* A volume that only one node can mount: the pod must run where the component runs that owns it. */}}
{{- define "headrace.sameNode" -}}
{{- $claim := get .root.Values.persistence .claim -}}
{{- if and $claim.enabled (not (has "ReadWriteMany" $claim.accessModes)) }}
affinity:
  podAffinity:
    requiredDuringSchedulingIgnoredDuringExecution:
      - topologyKey: kubernetes.io/hostname
        labelSelector:
          matchLabels:
            {{- include "headrace.selectorLabels" . | nindent 12 }}
{{- end }}
{{- end }}

{{/* An init container that waits until the migration has prepared the schema. It logs in as the program itself. */}}
{{- define "headrace.waitForSchema" -}}
name: wait-for-schema
image: {{ include "headrace.image" (dict "root" .root "image" .root.Values.cli.image) }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
command: [sh, -c, "until headrace migrate --check; do sleep 3; done"]
env:
  {{- include "headrace.env" . | trim | nindent 2 }}
resources:
  {{- toYaml .root.Values.migration.resources | nindent 2 }}
{{ include "headrace.containerSecurity" . }}
volumeMounts:
  - {name: secrets, mountPath: /run/secrets/headrace, readOnly: true}
  - {name: tmp, mountPath: /tmp}
{{- end }}

{{/* A pod selector of several components: (dict "root" . "in" LIST). */}}
{{- define "headrace.components" }}
podSelector:
  matchLabels:
    {{- include "headrace.selectorLabels" (dict "root" .root) | nindent 4 }}
  matchExpressions:
    - {key: app.kubernetes.io/component, operator: In, values: {{ .in | toJson }}}
{{- end }}

{{/* The spec of the CloudNativePG Cluster, without the values in extraSpec. */}}
{{- define "headrace.clusterSpec" }}
{{- $database := .Values.database.cloudnativepg }}
instances: {{ int64 $database.instances }}
{{- with $database.imageName }}
imageName: {{ . }}
{{- end }}
storage:
  size: {{ $database.size }}
  {{- with $database.storageClassName }}
  storageClass: {{ . }}
  {{- end }}
resources:
  {{- toYaml $database.resources | nindent 2 }}
postgresql:
  parameters:
    max_connections: {{ int64 .Values.database.maxConnections | quote }}
    max_wal_size: 4GB
    checkpoint_timeout: 15min
    jit: "off"
    timezone: UTC
bootstrap:
  initdb:
    database: {{ .Values.database.name }}
    owner: headrace_owner
    encoding: UTF8
    localeCollate: C
    localeCType: C
managed:
  # The migration creates one role for each service.
  roles:
    - {name: headrace_owner, ensure: present, login: true, createrole: true}
{{- end }}
