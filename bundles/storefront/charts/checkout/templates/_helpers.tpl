{{/*
The name of every object. With an alias .Chart.Name is the alias, so two instances never collide.
*/}}
{{- define "checkout.fullname" -}}
{{- .Values.fullnameOverride | default (printf "%s-%s" .Release.Name .Chart.Name) | trunc 63 | trimSuffix "-" -}}
{{- end }}

{{/*
What a selector may hold: it never changes during the life of a release.
*/}}
{{- define "checkout.selectorLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/*
Labels of pods: no version, so that a new chart version alone restarts nothing.
*/}}
{{- define "checkout.podLabels" -}}
{{ include "checkout.selectorLabels" . }}
app.kubernetes.io/component: checkout
app.kubernetes.io/part-of: storefront
{{- with .Values.podLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/*
Labels of all objects. "+" of a version (Flux appends one) is no label character.
*/}}
{{- define "checkout.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "checkout.selectorLabels" . }}
app.kubernetes.io/component: checkout
app.kubernetes.io/part-of: storefront
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "checkout.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "checkout.fullname" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end }}

{{/*
The image: global.imageRegistry (a mirror) replaces the chart's registry, a digest beats a tag.
*/}}
{{- define "checkout.image" -}}
{{- $name := printf "%s/%s" (.Values.global.imageRegistry | default .Values.image.registry) .Values.image.repository -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" $name .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" $name (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end }}

{{/*
One HTTP probe. Call it with an entry of .Values.probes.
*/}}
{{- define "checkout.probe" -}}
httpGet:
  path: {{ .path }}
  port: http
periodSeconds: {{ .periodSeconds }}
timeoutSeconds: {{ .timeoutSeconds }}
failureThreshold: {{ .failureThreshold }}
{{- end }}

{{/*
The Service of another chart of the shop. Call it with (list . "catalog").
*/}}
{{- define "checkout.peer" -}}
{{- printf "%s-%s" (index . 0).Release.Name (index . 1) | trunc 63 | trimSuffix "-" -}}
{{- end }}
