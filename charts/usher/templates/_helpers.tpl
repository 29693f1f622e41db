{{- define "usher.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" }}
{{- end }}

{{- define "usher.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- else if contains (include "usher.name" .) .Release.Name }}
{{- .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "usher.name" .) | trunc 40 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{/* What selects the pods of a component: it must never change. Call with (dict "root" . "component" "gateway"). */}}
{{- define "usher.selector" -}}
app.kubernetes.io/name: {{ include "usher.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "usher.labels" -}}
{{ include "usher.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end }}

{{/* Call with an image's values and the default tag. */}}
{{- define "usher.image" -}}
{{- if .image.digest }}{{ .image.repository }}@{{ .image.digest }}{{ else }}{{ .image.repository }}:{{ default .tag .image.tag }}{{ end }}
{{- end }}

{{- define "usher.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}{{ default (include "usher.fullname" .) .Values.serviceAccount.name }}{{ else }}{{ default "default" .Values.serviceAccount.name }}{{ end }}
{{- end }}

{{- define "usher.keysSecret" -}}
{{- default (printf "%s-keys" (include "usher.fullname" .)) .Values.keys.existingSecret }}
{{- end }}

{{/*
The data of the Secret that the chart makes: what the cluster has, or new keys. Rendered once and remembered, so that the
Secret and the checksum of it agree even when the keys are new.
*/}}
{{- define "usher.keysData" -}}
{{- if not (hasKey .Values.keys "made") }}
{{- $there := (lookup "v1" "Secret" .Release.Namespace (include "usher.keysSecret" .)).data | default dict }}
{{- $operator := get $there "operator-key" | default (printf "uso_%s" (randAlphaNum 40) | b64enc) }}
{{- $master := get $there "master-keys" | default (printf "%s\n" (randBytes 32 | replace "+" "-" | replace "/" "_" | trimSuffix "=") | b64enc) }}
{{- $_ := set .Values.keys "made" (printf "operator-key: %s\nmaster-keys: %s" $operator $master) }}
{{- end }}
{{- .Values.keys.made }}
{{- end }}

{{- define "usher.etcd.fullname" -}}
{{ include "usher.fullname" . }}-etcd
{{- end }}

{{- define "usher.etcd.scheme" -}}
{{ ternary "https" "http" (ne .Values.etcd.tls.secretName "") }}
{{- end }}

{{- define "usher.etcd.endpoints" -}}
{{- if .Values.etcd.enabled }}
{{- $name := include "usher.etcd.fullname" . }}
{{- range $i := until 3 }}{{ if $i }},{{ end }}{{ include "usher.etcd.scheme" $ }}://{{ $name }}-{{ $i }}.{{ $name }}.{{ $.Release.Namespace }}.svc:2379{{ end }}
{{- else }}
{{- required "Say where etcd is: set etcd.endpoints, or etcd.enabled=true to run one in this release." (join "," .Values.etcd.endpoints) }}
{{- end }}
{{- end }}

{{- define "usher.issuerURL" -}}
{{- if .Values.issuerURL }}{{ .Values.issuerURL }}
{{- else if and .Values.ingress.enabled .Values.ingress.hosts }}{{ ternary "https" "http" (ne .Values.ingress.tlsSecretName "") }}://{{ first .Values.ingress.hosts }}
{{- else if and .Values.httpRoute.enabled .Values.httpRoute.hostnames }}https://{{ first .Values.httpRoute.hostnames }}
{{- else }}{{ include "usher.serviceURL" . }}
{{- end }}
{{- end }}

{{- define "usher.scheme" -}}
{{ ternary "https" "http" (ne .Values.tls.secretName "") }}
{{- end }}

{{- define "usher.opsScheme" -}}
{{ ternary "https" "http" .Values.tls.ops }}
{{- end }}

{{/* Where the API is inside the cluster. */}}
{{- define "usher.serviceURL" -}}
{{- $scheme := include "usher.scheme" . }}
{{- $usual := ternary 443 80 (eq $scheme "https") }}
{{- $scheme }}://{{ include "usher.fullname" . }}.{{ .Release.Namespace }}.svc{{ if ne (int .Values.service.port) $usual }}:{{ .Values.service.port }}{{ end }}
{{- end }}

{{/* What the restricted pod security standard asks of a container. */}}
{{- define "usher.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "usher.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end }}
